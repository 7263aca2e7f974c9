"""A server with one task, for what a real one does not do on demand: stay stuck, be away, or have 500 hosts."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Item = dict[str, Any]


class OneTask:
    """Answers every call with the task as it is: by default it is open and has no items."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.statuses: list[int] = []  # of the next answers; after them all are 200
        self.is_over = False
        self.polled = threading.Semaphore(0)
        task = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                status = task.statuses.pop(0) if task.statuses else 200
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(task.answer(status)).encode())
                task.polled.release()

            def log_message(self, *_words: Any) -> None:
                return None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, status: int) -> dict[str, Any]:
        """Return DescribeTask's answer, or that the server is busy."""
        if status != 200:
            return {"Code": "ServiceUnavailable", "Message": "The server is busy."}
        state = ("completed", 100) if self.is_over else ("created", 0)
        items = [{**item, "completedTime": 1} for item in self.items] if self.is_over else self.items
        name = "UpgradeBackupClientsTask"
        return {"Name": name, "Description": state[0], "Progress": state[1], "Result": json.dumps(items)}

    def __enter__(self) -> "OneTask":
        self._thread.start()
        return self

    def __exit__(self, *_failure: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
