// Keyboard shortcuts. They can be switched off, for people who speak to their computer; the browser remembers it.
const OFF = "backfleet-keys-off";
let isAfterG = false;

export function startKeys() {
  const help = document.getElementById("help");
  if (!help) return;
  const box = document.getElementById("keys-on");
  box.checked = localStorage.getItem(OFF) === null;
  box.addEventListener("change", () => {
    if (box.checked) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, "1");
  });
  for (const button of document.querySelectorAll("[data-open-help]")) {
    button.hidden = false;
    button.addEventListener("click", () => help.showModal());
  }
  document.addEventListener("keydown", (event) => {
    if (box.checked && !isTyping(event)) onKey(event, help);
  });
}

function isTyping(event) {
  const at = event.target;
  const types = at.closest?.("input, textarea, select, [contenteditable]") && at.type !== "checkbox";
  return types || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]");
}

function onKey(event, help) {
  const search = document.querySelector("[data-search]");
  if (isAfterG) {
    isAfterG = false;
    const link = [...document.querySelectorAll("a[data-key]")].find((one) => one.dataset.key === event.key);
    if (link) location.assign(link.href);
    return;
  }
  if (event.key === "g") {
    isAfterG = true;
    setTimeout(() => { isAfterG = false; }, 1500);
  } else if (event.key === "?") {
    help.showModal();
  } else if (event.key === "/" && search) {
    event.preventDefault();
    search.focus();
    search.select();
  }
}
