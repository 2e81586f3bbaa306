"use strict";
// Follows a scan by server-sent events; at its end, the page shows the form to choose units.
(() => {
  const scan = document.getElementById("scan");
  if (!scan) return;
  const units = document.getElementById("units");
  const progress = document.getElementById("progress");
  const asked = document.getElementById("asked");
  const source = new EventSource("/scans/" + scan.dataset.scan + "/events");
  let shown = "";
  source.addEventListener("progress", (event) => {
    const state = JSON.parse(event.data);
    progress.value = state.asked;
    asked.textContent = state.asked + " of " + state.total + " units asked";
    const found = JSON.stringify([state.units, state.messages]);
    if (found !== shown && state.status === "running") {
      shown = found;
      htmx.ajax("GET", units.dataset.units, { target: units, swap: "innerHTML" });
    }
  });
  source.addEventListener("end", () => {
    source.close();
    location.reload();
  });
})();
