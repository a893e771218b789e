// The plots over the iterations: one per figure, all runs in each.

const cards = [
  { key: "loss", title: "Loss", hint: "nats per token; lines: training, dashed with dots: validation", wide: true, smooth: runningMean, logButton: true },
  { key: "lr", title: "Learning rate", layered: true, format: (v) => Number(v.toPrecision(3)).toExponential() },
  { key: "norm", title: "Gradient norm", hint: "before clipping", smooth: runningMedian, robust: true, logButton: true },
  { key: "time", title: "Time per iteration", hint: "ms", smooth: runningMedian, robust: true, logButton: true },
  { key: "tokens", title: "Tokens per second", smooth: runningMedian, robust: true, zero: true },
  { key: "mfu", title: "Model FLOPs utilization", hint: "% of peak", smooth: runningMedian, robust: true, zero: true },
  { key: "memory", title: "Memory", hint: "GB; solid: in use, dashed: peak, dotted: reserved", zero: true, layered: true },
];

const view = { axis: "iter", smoothing: 0, shown: runs.map(() => true), zoom: null };
const plots = [];

// Mean over the neighbours on both sides, each step away weighing `factor` times
// less: it does not lag behind a falling loss.
function runningMean(values, factor) {
  const sums = values.map(() => 0), weights = values.map(() => 0);
  const pass = (indices, ownCounts) => {
    let sum = 0, weight = 0;
    for (const i of indices) {
      const own = known(values[i]);
      sum = factor * sum + (own ? values[i] : 0);
      weight = factor * weight + (own ? 1 : 0);
      sums[i] += own && !ownCounts ? sum - values[i] : sum;
      weights[i] += own && !ownCounts ? weight - 1 : weight;
    }
  };
  const forward = [...values.keys()];
  pass(forward, true);
  pass(forward.toReversed(), false);
  return values.map((value, i) => (known(value) ? sums[i] / weights[i] : value));
}

// Median over as many neighbours as runningMean weighs: a single pause does not
// move it.
function runningMedian(values, factor) {
  const reach = Math.round(1 / (1 - factor));
  return values.map((value, i) => {
    if (!known(value)) return value;
    const near = values.slice(Math.max(0, i - reach), i + reach + 1).filter(known).sort((a, b) => a - b);
    return near[near.length >> 1];
  });
}

// Position of the last element that is not above `x`; -1 if none.
function lastBelow(xs, x) {
  let low = 0, high = xs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] <= x) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

const timeUnits = [["s", 1], ["min", 60], ["h", 3600], ["days", 86400]];

// The unit in which the longest run's time is a handy number.
function timeUnit() {
  const longest = Math.max(0, ...runs.map((run) => run.series.elapsed?.at(-1) ?? 0));
  return timeUnits.findLast(([, seconds]) => longest >= 2 * seconds) ?? timeUnits[0];
}

function axisLabel() {
  if (view.axis === "tokens") return "tokens trained on";
  if (view.axis === "elapsed") return `training time (${timeUnit()[0]})`;
  return "iteration";
}

// Where a run's iterations lie on the horizontal axis; null if the log does not
// say. After iteration i, i + 1 iterations are done; an evaluation names those done.
function iterationPositions(run) {
  const series = run.series;
  if (!series.iter) return null;
  if (view.axis === "tokens") return known(run.tokensPerIteration) ? series.iter.map((i) => (i + 1) * run.tokensPerIteration) : null;
  if (view.axis === "elapsed") return series.elapsed ? series.elapsed.map((s) => s / timeUnit()[1]) : null;
  return series.iter;
}

function evaluationPositions(run) {
  const iters = run.evaluations.iter;
  if (view.axis === "tokens") return known(run.tokensPerIteration) ? iters.map((i) => i * run.tokensPerIteration) : null;
  if (view.axis === "elapsed") {
    if (!run.series.elapsed) return null;
    return iters.map((i) => {
      const at = lastBelow(run.series.iter, i - 1);
      return at < 0 ? 0 : run.series.elapsed[at] / timeUnit()[1];
    });
  }
  return iters;
}

// The lines of a card: {run, label, xs, ys, dash, dots, raw}.
function linesOf(card) {
  const lines = [];
  runs.forEach((run, index) => {
    if (!view.shown[index]) return;
    const xs = iterationPositions(run);
    const add = (label, positions, ys, more) => {
      if (positions && ys && ys.some(known)) lines.push({ run: index, label, xs: positions, ys, ...more });
    };
    if (card.key === "memory") {
      add("in use", xs, run.series.allocated, {});
      add("peak", xs, run.series.peak, { dash: [7, 4] });
      add("reserved", xs, run.series.reserved, { dash: [2, 4] });
      return;
    }
    add(card.key === "loss" ? "train" : "", xs, run.series[card.key], { smooth: card.smooth });
    if (card.key === "loss") add("val", evaluationPositions(run), run.evaluations.val, { dash: [6, 4], dots: true });
  });
  return lines;
}

// From the lowest to the highest value within [from, to]; a robust range leaves
// out the few that would flatten all others.
function rangeOf(card, lines, from, to) {
  const values = [];
  for (const line of lines)
    line.ys.forEach((y, i) => {
      if (known(y) && line.xs[i] >= from && line.xs[i] <= to) values.push(y);
    });
  if (!values.length) return { min: 0, max: 1, outside: 0 };
  values.sort((a, b) => a - b);
  let min = values[0], max = values.at(-1);
  if (card.robust && !card.showAll && values.length >= 50) {
    const at = (part) => values[Math.round(part * (values.length - 1))];
    const low = at(0.02), high = at(0.98), reach = 1.5 * (high - low) || 0.1 * Math.abs(high);
    min = Math.max(min, low - reach);
    max = Math.min(max, high + reach);
  }
  const outside = values.filter((v) => v < min || v > max).length;
  if (card.log) {
    const positive = values.find((v) => v > 0) ?? 1;
    return { min: Math.max(min, positive) / 1.05, max: Math.max(max, positive) * 1.05, outside };
  }
  const margin = 0.06 * (max - min) || 0.05 * Math.abs(max) || 1;
  if (card.zero && min >= 0) return { min: 0, max: max + margin, outside };
  return { min: min >= 0 ? Math.max(0, min - margin) : min - margin, max: max + margin, outside };
}

function tickText(card, values) {
  if (card.format) return values.map((v) => (v === null ? "" : v === 0 ? "0" : card.format(v)));
  // A logarithmic axis begins where its range does, at no round number.
  return values.map((v) => (v === null ? "" : Math.abs(v) >= 10000 ? prefixed(v) : String(Number(v.toPrecision(card.log ? 3 : 6)))));
}

function cardText(card, value) {
  if (!known(value)) return dash;
  if (card.format) return value === 0 ? "0" : card.format(value);
  switch (card.key) {
    case "loss": case "norm": return value.toFixed(4);
    case "time": return `${timeText(value)} ms`;
    case "tokens": return plain(value);
    case "mfu": return `${value.toFixed(2)}%`;
    default: return `${Number(value.toPrecision(4))} GB`;
  }
}

function chartTip(plot, event) {
  const x = plot.chart.posToVal(plot.chart.cursor.left, "x");
  const rows = [];
  for (const line of plot.lines) {
    const before = lastBelow(line.xs, x), after = Math.min(before + 1, line.xs.length - 1);
    if (x > line.xs.at(-1) + 0.02 * (line.xs.at(-1) - line.xs[0]) || after < 0) continue;
    const at = before < 0 || Math.abs(line.xs[after] - x) < Math.abs(line.xs[before] - x) ? after : before;
    if (!known(line.ys[at])) continue;
    const name = runs[line.run].name + (line.label ? `, ${line.label}` : "");
    rows.push(element("div", "line", swatch(runColor(line.run)), element("span", "label", name),
      element("span", "figure", cardText(plot.card, line.ys[at]))));
  }
  if (!rows.length) return hideTip();
  const where = view.axis === "iter" ? `Iteration ${plain(x)}`
    : view.axis === "tokens" ? `${prefixed(x)} tokens` : `${Number(x.toPrecision(3))} ${timeUnit()[0]}`;
  showTip(event, element("div", "muted", where), ...rows);
}

function zoomTo(zoom) {
  view.zoom = zoom;
  byId("reset-zoom").disabled = zoom === null;
  for (const plot of plots) {
    if (!plot.chart) continue;
    plot.window = zoom ?? plot.extent;
    plot.chart.setScale("x", plot.window);
  }
}

function drawPlot(plot) {
  const { card, body } = plot;
  plot.chart?.destroy();
  plot.chart = null;
  const lines = (plot.lines = linesOf(card));
  plot.note.replaceChildren();
  if (!lines.length) {
    const reason = view.shown.some(Boolean) ? "No run that is shown has this figure in its log." : "No run is shown.";
    body.replaceChildren(element("div", "absent", reason));
    return;
  }
  body.replaceChildren();

  const tables = [], series = [{}];
  for (const line of lines) {
    const stroke = color(runColor(line.run));
    const fewPoints = line.xs.length < 3;
    const dots = { show: Boolean(line.dots) || fewPoints, size: 6, fill: stroke, width: 0 };
    const smooth = line.smooth && view.smoothing > 0 && line.xs.length > 10;
    // Of runs beyond the palette's end the lines are dashed.
    const again = Math.floor(line.run / numberOfRunColors);
    const dashes = line.dash ?? (again ? [12, 3 * again] : undefined);
    // Where lines of several runs coincide, each stays visible around the next.
    const width = card.layered ? 1.75 + 2 * Math.max(0, Math.min(3, runs.length - 1 - line.run)) : 1.75;
    tables.push([line.xs, line.ys]);
    series.push({ stroke: smooth ? withAlpha(stroke, 0.25) : stroke, width: smooth ? 1 : width, dash: dashes, points: dots });
    if (smooth) {
      tables.push([line.xs, line.smooth(line.ys, view.smoothing)]);
      series.push({ stroke, width: 2, dash: dashes, points: { show: false } });
    }
  }
  const starts = lines.map((line) => line.xs[0]), ends = lines.map((line) => line.xs.at(-1));
  plot.extent = { min: Math.min(...starts), max: Math.max(...ends) };
  if (plot.extent.min === plot.extent.max) plot.extent = { min: plot.extent.min - 1, max: plot.extent.max + 1 };
  plot.window = view.zoom ?? plot.extent;

  const font = '12px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif';
  const axis = { stroke: color("muted"), font, labelFont: font, grid: { stroke: color("grid"), width: 1 }, ticks: { show: false } };
  plot.chart = new uPlot({
    width: body.clientWidth,
    height: card.wide ? 330 : 230,
    padding: [8, 22, 0, 0],
    legend: { show: false },
    cursor: { sync: { key: "runs" }, drag: { x: true, y: false, setScale: false }, points: { show: false }, y: false },
    scales: {
      x: { time: false, auto: false, ...plot.window },
      y: {
        distr: card.log ? 3 : 1,
        range: () => {
          const found = rangeOf(card, lines, plot.window.min, plot.window.max);
          plot.outside = found.outside;
          return [found.min, found.max];
        },
      },
    },
    axes: [
      { ...axis, label: axisLabel(), labelSize: 20, size: 30, gap: 6, space: 70, values: (u, values) => values.map((v) => (v === null ? "" : Math.abs(v) >= 10000 ? prefixed(v) : String(Number(v.toPrecision(6))))) },
      {
        ...axis, gap: 8, space: 34, values: (u, values) => tickText(card, values),
        size: (u, values) => (values ? 18 + 6.8 * Math.max(...values.map((v) => String(v ?? "").length)) : 50),
      },
    ],
    series,
    hooks: {
      setSelect: [(u) => {
        if (u.select.width < 4) return;
        const zoom = { min: u.posToVal(u.select.left, "x"), max: u.posToVal(u.select.left + u.select.width, "x") };
        u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        zoomTo(zoom);
      }],
      draw: [() => noteOutside(plot)],
    },
  }, uPlot.join(tables), body);
  const over = plot.chart.over;
  over.addEventListener("mousemove", (event) => chartTip(plot, event));
  over.addEventListener("mouseleave", hideTip);
  over.addEventListener("dblclick", () => zoomTo(null));
}

// Says how many values a robust range leaves out, and shows them on request.
function noteOutside(plot) {
  if (!plot.card.robust) return;
  const children = [];
  if (plot.outside) children.push(`${plain(plot.outside)} outside`);
  if (plot.outside || plot.card.showAll)
    children.push(button(plot.card.showAll ? "hide outliers" : "show", () => {
      plot.card.showAll = !plot.card.showAll;
      drawPlot(plot);
    }));
  plot.note.replaceChildren(...children);
}

function drawCharts() {
  hideTip();
  for (const plot of plots) drawPlot(plot);
}

function makeCharts() {
  for (const card of cards) {
    const note = element("span", "hint"), body = element("div");
    const right = element("span", "right");
    const plot = { card, body, note };
    if (card.logButton) {
      const log = button("log", () => {
        card.log = !card.log;
        log.setAttribute("aria-pressed", card.log);
        drawPlot(plot);
      });
      log.setAttribute("aria-pressed", false);
      log.setAttribute("aria-label", `${card.title}: logarithmic axis`);
      right.append(log);
    }
    const head = element("div", "head", element("h3", "", card.title), element("span", "hint", card.hint ?? ""), note, right);
    const box = element("div", `card chart ${card.wide ? "wide" : ""}`, head, body);
    box.dataset.chart = card.key;
    byId("charts").append(box);
    plots.push(plot);
  }
  segments(byId("axis"), [["iter", "Iterations"], ["tokens", "Tokens"], ["elapsed", "Time"]], view.axis, (axis) => {
    view.axis = axis;
    view.zoom = null;
    byId("reset-zoom").disabled = true;
    drawCharts();
  });
  // More where there is more to smooth.
  const longest = Math.max(0, ...runs.map((run) => run.series.iter?.length ?? 0));
  view.smoothing = longest < 50 ? 0 : longest < 400 ? 0.7 : 0.9;
  const slider = byId("smoothing");
  slider.value = view.smoothing;
  const showValue = () => (byId("smoothing-value").textContent = view.smoothing ? view.smoothing.toFixed(2) : "off");
  slider.addEventListener("input", () => {
    view.smoothing = Number(slider.value);
    showValue();
    drawCharts();
  });
  showValue();
  byId("reset-zoom").addEventListener("click", () => zoomTo(null));
  redraws.push(drawCharts);
}
