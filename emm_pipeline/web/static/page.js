"use strict";
// Refreshes the parts of a page that change, and reports what fails.
(() => {
  const notice = document.getElementById("notice");
  const report = (text) => { notice.textContent = text; };
  const csrf = document.querySelector("input[name=csrf]");
  const parts = document.querySelectorAll("[data-refresh]");
  let query = location.search;
  let failed = false;

  const isUsed = (part) => {
    const focused = document.activeElement;
    return part.contains(focused) && focused.matches("input, select, textarea");
  };

  const refresh = (part) => {
    if (document.hidden || isUsed(part) || part.dataset.busy) return;
    part.dataset.busy = "1";
    const address = part.dataset.refresh + (part.dataset.form ? query : "");
    htmx.ajax("GET", address, { target: part, swap: "innerHTML" }).finally(() => { delete part.dataset.busy; });
  };

  for (const part of parts) {
    setInterval(refresh, Number(part.dataset.every) * 1000, part);
  }
  document.addEventListener("visibilitychange", () => parts.forEach(refresh));

  document.body.addEventListener("htmx:configRequest", (event) => {
    if (csrf) event.detail.headers["X-CSRF-Token"] = csrf.value;
  });
  document.body.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.elt.id === "filters" && event.detail.successful) {
      const path = event.detail.pathInfo.finalRequestPath;
      query = path.includes("?") ? path.slice(path.indexOf("?")) : "";
      history.replaceState(null, "", "/" + query);
    }
    if (event.detail.successful && failed) {
      failed = false;
      report("");
    }
  });
  document.body.addEventListener("htmx:responseError", (event) => {
    const text = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html").body.textContent.trim();
    failed = true;
    report(text.slice(0, 500) || "The server answered with status " + event.detail.xhr.status + ".");
  });
  document.body.addEventListener("htmx:sendError", () => {
    failed = true;
    report("The server does not answer. The page shows old values.");
  });
})();
