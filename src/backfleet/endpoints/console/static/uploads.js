// Forms with a file show how much of it is sent. Without a script the browser sends the same form.
export function startUploads() {
  for (const form of document.querySelectorAll("form[data-upload]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      send(form);
    });
  }
}

function send(form) {
  const shown = form.querySelector("[data-progress]");
  const [bar, text, button] = [shown.querySelector("progress"), shown.querySelector("span"), form.querySelector("button.primary")];
  const request = new XMLHttpRequest();
  shown.hidden = false;
  button.disabled = true;
  request.upload.addEventListener("progress", (event) => {
    bar.value = Math.round((100 * event.loaded) / event.total);
    text.textContent = bar.value < 100 ? `${bar.value} % sent` : "sent; the server reads it";
  });
  request.addEventListener("load", () => {
    const page = new DOMParser().parseFromString(request.responseText, "text/html");
    const main = page.querySelector("main");
    if (request.responseURL.includes("/console/login") || !main) { location.reload(); return; }
    document.title = page.title;
    document.querySelector("main").replaceWith(main);
    main.focus();
    startUploads();
  });
  request.addEventListener("error", () => {
    button.disabled = false;
    text.textContent = "The server closed the connection before it had the file: it refused it, or cannot be reached.";
  });
  request.open("POST", form.action);
  request.send(new FormData(form));
}
