// Forms: ask before what cannot be taken back, send once, select all rows of a table, and log in by a link.
export function startForms() {
  logInOnce();
  document.addEventListener("submit", (event) => {
    const question = event.submitter?.dataset.ask;
    if (question && !confirm(question)) {
      event.preventDefault();
      return;
    }
    const form = event.target;
    if (form.method === "post" && form.dataset.sent) event.preventDefault();
    form.dataset.sent = "1";
    setTimeout(() => { delete form.dataset.sent; }, 3000);
  });
  document.addEventListener("change", (event) => {
    const all = event.target;
    if (all.matches?.("input[data-all]")) {
      for (const box of all.closest("table").querySelectorAll("tbody input[type=checkbox]")) box.checked = all.checked;
    }
    if (all.matches?.("select[data-submits]")) all.form.requestSubmit();
    countSelected();
  });
  countSelected();
}

export function countSelected() {
  for (const shown of document.querySelectorAll("[data-selected]")) {
    const number = shown.closest("form").querySelectorAll("tbody input[type=checkbox]:checked").length;
    shown.textContent = number === 0 ? "none selected" : `${number} selected`;
  }
}

function logInOnce() {
  const form = document.querySelector("form[data-once]");
  const code = location.hash.slice(1);
  if (!form || !/^[a-z0-9]{32}$/.test(code)) return;
  history.replaceState(null, "", location.pathname + location.search);
  form.elements.code.value = code;
  form.requestSubmit();
}
