// Warn before the session ends, while there is time to do something about it.
const WARN_SECONDS = 120;

export function startSession() {
  const { idle, ends } = document.body.dataset;
  if (ends === undefined) return;
  const opened = Date.now();
  const timer = setInterval(() => {
    const passed = (Date.now() - opened) / 1000;
    const left = Math.min(Number(idle), Number(ends)) - passed;
    if (left > WARN_SECONDS) return;
    if (left <= 0) {
      sayOver();
      clearInterval(timer);
    } else {
      const stays = Number(idle) < Number(ends) ? "Open a page to stay logged in." : "Log in again to go on.";
      say(`Your session ends in ${Math.ceil(left)} s. ${stays}`);
    }
  }, 1000);
}

export function sayOver() {
  say("Your session is over. ", { href: "/console/login?next=" + encodeURIComponent(location.pathname + location.search), text: "Log in again" });
}

export function say(text, link) {
  const notice = document.getElementById("session-notice");
  notice.textContent = text;
  if (link) {
    const made = document.createElement("a");
    made.href = link.href;
    made.textContent = link.text;
    notice.append(made);
  }
  notice.hidden = !text;
}
