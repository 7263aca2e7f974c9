// Live pages: the server says that something changed, and the page fetches itself again and replaces its parts.
// Hidden tabs close their stream. A stream that breaks is opened again, so a restarted server finds its pages again.
import { countSelected } from "./forms.js";
import { say, sayOver } from "./session.js";
import { showOwnTimes } from "./times.js";

const AGAIN_MS = 3000; // after a change: what it led to
const BY_ITSELF_MS = 120000; // notifications may be lost
const BROKEN_MS = 5000;
let stream = null;
let timer = 0;
let isFetching = false;

export function startLive() {
  const families = (document.body.dataset.live ?? "").split(" ").filter(Boolean);
  if (!families.length) return;
  const begin = () => open(families);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else { begin(); refresh(); }
  });
  addEventListener("pagehide", close);
  setInterval(() => { if (!document.hidden) refresh(); }, BY_ITSELF_MS);
  if (!document.hidden) begin();
}

function open(families) {
  close();
  stream = new EventSource("/console/events");
  let wasOpen = false;
  stream.addEventListener("open", () => {
    if (wasOpen) refresh();
    wasOpen = true;
    say("");
    document.body.dataset.connected = "yes";
  });
  stream.addEventListener("changed", (event) => {
    if (!families.includes(event.data)) return;
    refresh();
    clearTimeout(timer);
    timer = setTimeout(refresh, AGAIN_MS);
  });
  stream.addEventListener("over", () => { close(); sayOver(); });
  stream.addEventListener("error", () => {
    document.body.dataset.connected = "no";
    if (stream?.readyState !== EventSource.CLOSED) { say("The server cannot be reached; trying again."); return; }
    close();
    setTimeout(async () => { if (!document.hidden && await refresh()) open(families); }, BROKEN_MS);
  });
}

function close() {
  stream?.close();
  stream = null;
}

async function refresh() {
  if (isFetching) return true;
  isFetching = true;
  try {
    const answer = await fetch(location.href, { headers: { "X-Backfleet-Live": "1" } });
    if (answer.status === 401) { close(); sayOver(); return false; }
    if (answer.ok) replaceParts(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    say("The server cannot be reached; trying again.");
  } finally {
    isFetching = false;
  }
  return true;
}

function replaceParts(page) {
  for (const part of document.querySelectorAll("[data-part]")) {
    const fresh = page.getElementById(part.id);
    if (!fresh || isInUse(part) || part.innerHTML === fresh.innerHTML) continue;
    part.replaceChildren(...fresh.childNodes);
    showOwnTimes(part);
  }
  countSelected();
}

// Nobody's selection, open detail or typing is taken away by what changed meanwhile.
function isInUse(part) {
  return part.contains(document.activeElement) && document.activeElement !== document.body
    || part.querySelector("input:checked, details[open], dialog[open]") !== null;
}
