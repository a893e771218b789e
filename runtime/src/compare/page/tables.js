// The tiles on top, the table of runs, and the table of their settings.

const gigabytes = (value) => (value < 1000 ? value.toPrecision(3) : plain(value));

// The index of the run with the least `cost`; -1 if none has one.
function leastBy(cost) {
  let best = -1;
  runs.forEach((run, i) => {
    if (known(cost(run)) && (best < 0 || cost(run) < cost(runs[best]))) best = i;
  });
  return best;
}

function makeTiles() {
  const several = runs.length > 1;
  const tile = (label, best, value, unit, more = "") => {
    const who = best < 0 ? "not in the log" + (several ? "s" : "") : several ? runs[best].name : "";
    const amount = element("div", "value", best < 0 ? dash : value(runs[best]));
    if (best >= 0 && unit) amount.append(element("span", "unit", unit));
    byId("tiles").append(element("div", "tile", element("div", "muted small", label), amount,
      who ? element("div", "who", who) : null, best >= 0 && more ? element("div", "who", more) : null));
  };
  const bestLoss = leastBy((run) => run.bestVal);
  const improvement = known(data.improvement) ? `${data.improvement.toFixed(2)}% below the worst` : "";
  tile(several ? "Lowest validation loss" : "Best validation loss", bestLoss, (run) => run.bestVal.toFixed(4), "",
    improvement || (bestLoss >= 0 && known(runs[bestLoss].bestValIter) ? `iteration ${plain(runs[bestLoss].bestValIter)}` : ""));
  tile(several ? "Most tokens per second" : "Tokens per second", leastBy((run) => (known(run.tokens) ? -run.tokens : null)), (run) => plain(run.tokens), "");
  tile(several ? "Shortest iteration" : "Time per iteration", leastBy((run) => run.time), (run) => timeText(run.time), "ms");
  tile(several ? "Highest utilization (MFU)" : "Utilization (MFU)", leastBy((run) => (known(run.mfu) ? -run.mfu : null)), (run) => run.mfu.toFixed(2), "%");
  tile(several ? "Least memory at its peak" : "Memory at its peak", leastBy((run) => run.peakGb), (run) => gigabytes(run.peakGb), "GB");
}

function makeSummary() {
  for (const note of data.notes) byId("notes").append(element("p", "note", note));
  const columns = [
    ["Run", (run, i) => element("td", "run", swatch(runColor(i)), run.name, element("span", "sub", run.architecture || dash))],
    ["Val loss", (run) => element("td", "figure", fixed(run.bestVal, 4), element("span", "sub", known(run.bestValIter) ? `at ${plain(run.bestValIter)}` : ""))],
    ["Train loss", (run) => fixed(run.finalTrain, 4)],
    ["MFU", (run) => (known(run.mfu) ? `${run.mfu.toFixed(2)}%` : dash)],
    ["ms/iter", (run) => timeText(run.time)],
    ["Tokens/s", (run) => plain(run.tokens)],
    ["Parameters", (run) => prefixed(run.parameters)],
    ["Peak GB", (run) => (known(run.peakGb) ? gigabytes(run.peakGb) : dash)],
    ["Iterations", (run) => element("td", "figure", known(run.lastIter) ? plain(run.lastIter + 1) : "0", element("span", "sub", known(run.maxIters) ? `of ${plain(run.maxIters)}` : ""))],
    ["State", (run) => element("td", "", run.state, element("span", "sub", run.start.replace("T", " ").slice(0, 16)))],
  ];
  const head = element("tr", "", ...columns.map(([title], i) => element("th", i > 0 && i < columns.length - 1 ? "figure" : "", title)));
  const body = element("tbody");
  const best = runs.length > 1 ? leastBy((run) => run.bestVal) : -1;
  const order = runs.map((run, i) => i).sort((a, b) => (runs[a].bestVal ?? Infinity) - (runs[b].bestVal ?? Infinity) || a - b);
  for (const i of order) {
    const cells = columns.map(([, value]) => {
      const cell = value(runs[i], i);
      return cell instanceof Node ? cell : element("td", "figure", cell);
    });
    body.append(element("tr", i === best ? "best" : "", ...cells));
  }
  byId("summary").append(element("thead", "", head), body);
}

// Only where some runs have the same architecture.
function makeMeans() {
  if (data.architectures.length >= runs.length) return;
  const titles = ["Means per architecture", "Runs", "Val loss", "MFU", "ms/iter", "Tokens/s"];
  const head = element("tr", "", ...titles.map((title, i) => element("th", i ? "figure" : "", title)));
  const body = element("tbody");
  for (const means of data.architectures) {
    const figures = [plain(means.runs), fixed(means.valLoss, 4), known(means.mfu) ? `${means.mfu.toFixed(2)}%` : dash, timeText(means.time), plain(means.tokens)];
    body.append(element("tr", "", element("td", "", means.architecture || dash), ...figures.map((text) => element("td", "figure", text))));
  }
  byId("means").append(element("table", "", element("thead", "", head), body));
  byId("means").hidden = false;
}

function makeSettings() {
  const byKey = new Map();
  runs.forEach((run, i) => {
    for (const [group, key, value] of run.settings) {
      const name = group === "config" ? key : `${group}.${key}`;
      if (!byKey.has(name)) byKey.set(name, runs.map(() => null));
      byKey.get(name)[i] = value;
    }
  });
  const differs = (values) => values.some((value) => value !== values[0]);
  const several = runs.length > 1;
  const show = (all) => {
    const names = [...byKey.keys()].filter((name) => all || differs(byKey.get(name)));
    if (!names.length) {
      byId("settings").replaceChildren(element("div", "card absent", byKey.size ? "The runs have the same settings." : "No settings in the log."));
      return;
    }
    const head = element("tr", "", element("th", "", "setting"), ...runs.map((run, i) => element("th", "", several ? swatch(runColor(i)) : null, ` ${run.name}`)));
    const body = element("tbody");
    for (const name of names) {
      const values = byKey.get(name);
      const mark = several && differs(values) ? "value differs" : "value";
      body.append(element("tr", "", element("td", "key", name), ...values.map((value) => element("td", mark, value ?? dash))));
    }
    byId("settings").replaceChildren(element("div", "card scroll", element("table", "", element("thead", "", head), body)));
  };
  if (several) {
    byId("settings-title").textContent = "Differences in settings";
    segments(byId("settings-controls").appendChild(element("div", "segments")), [[false, "Differences"], [true, "All"]], false, show);
  }
  show(!several);
}
