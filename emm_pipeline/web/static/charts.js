"use strict";
// Draws a series of the store: the mean of each step, and the range between its lowest and highest value.
(() => {
  const chart = document.getElementById("chart");
  const series = document.getElementById("chart-series");
  const hours = document.getElementById("chart-hours");
  const text = document.getElementById("chart-text");
  if (!chart || !series.options.length) return;
  if (chart.dataset.first) series.selectedIndex = Number(chart.dataset.first);
  const shown = new Intl.NumberFormat("en", { maximumSignificantDigits: 6 });
  let plot = null;

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // A gap in the data is a gap in the line.
  const withGaps = (data) => {
    const columns = [[], [], [], []];
    data.times.forEach((time, place) => {
      if (place && time - data.times[place - 1] > 3 * Math.max(data.step_s, 60)) {
        columns[0].push(data.times[place - 1] + data.step_s);
        columns.slice(1).forEach((column) => column.push(null));
      }
      [time, data.mean[place], data.high[place], data.low[place]].forEach((value, at) => columns[at].push(value));
    });
    return columns;
  };

  const draw = (data, label) => {
    if (plot) plot.destroy();
    chart.replaceChildren();
    const line = colour("--accent");
    const axis = { stroke: colour("--text"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
    plot = new uPlot({
      width: chart.clientWidth,
      height: 260,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), chart.dataset.zone),
      series: [
        {},
        { label, stroke: line, width: 2, points: { show: data.times.length < 60 } },
        { label: "highest", stroke: "transparent", points: { show: false } },
        { label: "lowest", stroke: "transparent", points: { show: false } },
      ],
      bands: [{ series: [2, 3], fill: colour("--band") }],
      axes: [axis, { ...axis, size: 70 }],
    }, withGaps(data), chart);
    chart.setAttribute("role", "img");
    chart.setAttribute("aria-label", text.textContent);
  };

  const load = async () => {
    const option = series.selectedOptions[0];
    const query = new URLSearchParams({ measurement: option.value, unit: option.dataset.unit, hours: hours.value });
    const answer = await fetch("/api/meters/" + chart.dataset.meter + "/series?" + query);
    const data = await answer.json();
    if (!answer.ok) {
      text.textContent = data.error;
      return;
    }
    const unit = data.unit ? " " + data.unit : "";
    if (!data.times.length) {
      text.textContent = "No values of " + option.value + " in this time.";
      if (plot) plot.destroy();
      plot = null;
      return;
    }
    const low = shown.format(Math.min(...data.low));
    const high = shown.format(Math.max(...data.high));
    const last = shown.format(data.mean[data.mean.length - 1]);
    text.textContent = `${option.value}: lowest ${low}${unit}, highest ${high}${unit}, last ${last}${unit}.`;
    draw(data, option.textContent);
  };

  const reload = () => load().catch(() => { text.textContent = "The server does not answer."; });
  series.addEventListener("change", reload);
  hours.addEventListener("change", reload);
  window.addEventListener("resize", () => { if (plot) plot.setSize({ width: chart.clientWidth, height: 260 }); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", reload);
  reload();
})();
