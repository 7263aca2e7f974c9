// Live pages: the server says that something changed, and the page fetches itself again and replaces its parts.
// Hidden tabs close their stream. A stream that breaks is opened again, so a restarted server finds its pages again.
import { countSelected } from "./forms.js";
import { say, sayOver } from "./session.js";
import { showOwnTimes } from "./times.js";

const AGAIN_MS = 3000; // after a change: what it led to
const BY_ITSELF_MS = 120000; // notifications may be lost
const BROKEN_MS = 5000; // doubled each time, up to BY_ITSELF_MS
const UNREACHABLE = "The server cannot be reached; trying again.";
let families = [];
let stream = null;
let timer = 0;
let brokenTimer = 0;
let waitMs = BROKEN_MS;
let isFetching = false;
let isStale = false; // the page says that it does not show what is true now
let isCrowded = false; // this person's newer pages have the streams

export function startLive() {
  families = (document.body.dataset.live ?? "").split(" ").filter(Boolean);
  if (!families.length) return;
  document.addEventListener("visibilitychange", () => {
    isCrowded = false;
    if (document.hidden) close();
    else { open(); refresh(); }
  });
  addEventListener("pagehide", close);
  setInterval(() => { if (!document.hidden) refresh(); }, BY_ITSELF_MS);
  if (!document.hidden) open();
}

function open() {
  close();
  stream = new EventSource("/console/events?page=" + encodeURIComponent(location.pathname.replace("/console", "")));
  let wasOpen = false;
  stream.addEventListener("open", () => {
    if (wasOpen) refresh();
    wasOpen = true;
    waitMs = BROKEN_MS;
    say("");
    document.body.dataset.connected = "yes";
  });
  stream.addEventListener("changed", (event) => {
    if (!families.includes(event.data)) return;
    refresh();
    clearTimeout(timer);
    timer = setTimeout(refresh, AGAIN_MS);
  });
  stream.addEventListener("over", (event) => {
    close();
    if (event.data === "session") sayOver();
    else if (event.data === "permission") refresh();
    else { isCrowded = true; say("You have many pages open: this one updates itself every two minutes only."); }
  });
  stream.addEventListener("error", () => {
    document.body.dataset.connected = "no";
    if (stream?.readyState !== EventSource.CLOSED) { say(UNREACHABLE); return; }
    close();
    tryAgainLater();
  });
}

function tryAgainLater() {
  clearTimeout(brokenTimer);
  brokenTimer = setTimeout(() => { if (!document.hidden) refresh(); }, waitMs);
  waitMs = Math.min(2 * waitMs, BY_ITSELF_MS);
}

function close() {
  clearTimeout(brokenTimer);
  stream?.close();
  stream = null;
  document.body.dataset.connected = "no";
}

async function refresh() {
  if (isFetching) return;
  isFetching = true;
  try {
    const answer = await fetch(location.href, { headers: { "X-Backfleet-Live": "1" } });
    if (answer.status === 401) { close(); sayOver(); return; }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!answer.ok) { sayStale(page, answer.status); return; }
    if (isStale) say("");
    isStale = false;
    replaceParts(page);
    if (!stream && !isCrowded && !document.hidden) open();
  } catch {
    isStale = true;
    say(UNREACHABLE);
    if (!stream) tryAgainLater();
  } finally {
    isFetching = false;
  }
}

// What is refused, gone or out of order is said as the page itself would say it, and asked for again after a while.
function sayStale(page, status) {
  isStale = true;
  if (status >= 500 || status === 429) { if (!stream) tryAgainLater(); } else close();
  const why = page.querySelector("[role=alert]")?.textContent ?? `The server answers ${status}.`;
  say(`This page is no longer kept up to date: ${why} `, { href: location.href, text: "Open it again" });
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
