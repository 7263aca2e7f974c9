// Buttons that copy the text before them. Without a script there are none: text can be selected.
export function startCopying() {
  if (!navigator.clipboard) return;
  for (const shown of document.querySelectorAll("pre[data-copy]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(shown.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    shown.after(button);
  }
}
