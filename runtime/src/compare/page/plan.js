// The memory plan: the arena over the step. Across: the commands of each entry,
// one entry beside the other; up: addresses. A buffer is a rectangle from its
// first command to its last; what lives in all entries is a band across.

const plan = { run: -1, range: null, boxes: [], hovered: null, canvas: null, drag: null };

const kindNames = {
  param: "weights", grad: "gradients", moment1: "first moments", moment2: "second moments", activation: "activations",
  workspace: "workspaces", tokens: "tokens", targets: "targets", hyper: "hyperparameters", loss: "loss", stats: "statistics",
  compute: "weights in bf16", cache: "keys and values", decode_tokens: "tokens to decode", decode_state: "state of decoding",
  logits: "logits",
};
const kindColors = { tokens: "kind-input", targets: "kind-input", hyper: "kind-input", loss: "kind-result", stats: "kind-result",
  decode_tokens: "kind-input", decode_state: "kind-input", logits: "kind-result" };
const ownColors = new Set(["param", "grad", "moment1", "moment2", "activation", "workspace", "compute", "cache"]);
const kindColor = (kind) => kindColors[kind] ?? (ownColors.has(kind) ? `kind-${kind}` : "kind-other");

// A plan as objects, with what is worked out once: the order of the entries, the
// bytes that live at each command, the sums by kind.
function unpackPlan(packed) {
  const buffers = packed.buffers.map(([name, kind, offset, bytes, entry, begin, end]) => (
    { name, kind: packed.kinds[kind], offset, bytes, entry, begin, end }));
  const used = new Set(buffers.map((buffer) => buffer.entry));
  const order = ["init", "micro", "update", "eval"];
  const rank = (name) => (order.includes(name) ? order.indexOf(name) : order.length);
  let entries = packed.entries.map(([name, commands], index) => ({ name, commands: Math.max(1, commands), index }));
  // What runs once before training, or has no buffers of its own, would only
  // take room.
  if (entries.some((entry) => used.has(entry.index)))
    entries = entries.filter((entry) => used.has(entry.index) || ["micro", "update"].includes(entry.name));
  entries.sort((a, b) => rank(a.name) - rank(b.name));
  const kinds = packed.kinds.map((kind) => ({ kind, count: 0, always: 0, most: 0 }));
  const kindOf = new Map(kinds.map((each) => [each.kind, each]));
  for (const buffer of buffers) {
    const sums = kindOf.get(buffer.kind);
    ++sums.count;
    if (buffer.entry < 0) sums.always += buffer.bytes;
  }
  const always = buffers.filter((buffer) => buffer.entry < 0).reduce((sum, buffer) => sum + buffer.bytes, 0);
  for (const entry of entries) {
    const changes = new Map();
    const change = (at, kind, bytes) => changes.set(at, [...(changes.get(at) ?? []), [kind, bytes]]);
    for (const buffer of buffers) {
      if (buffer.entry !== entry.index) continue;
      change(buffer.begin, buffer.kind, buffer.bytes);
      change(buffer.end + 1, buffer.kind, -buffer.bytes);
    }
    let live = always;
    const liveOf = new Map(kinds.map(({ kind }) => [kind, 0]));
    entry.live = [[0, always]];
    entry.peak = { bytes: always, at: 0 };
    for (const at of [...changes.keys()].sort((a, b) => a - b)) {
      for (const [kind, bytes] of changes.get(at)) {
        live += bytes;
        liveOf.set(kind, liveOf.get(kind) + bytes);
      }
      for (const sums of kinds) sums.most = Math.max(sums.most, liveOf.get(sums.kind));
      entry.live.push([at, live]);
      if (live > entry.peak.bytes) entry.peak = { bytes: live, at };
    }
  }
  const own = buffers.filter((buffer) => buffer.entry >= 0);
  const top = buffers.reduce((max, buffer) => Math.max(max, buffer.offset + buffer.bytes), packed.arena ?? 0);
  const working = own.length ? [
    own.reduce((min, buffer) => Math.min(min, buffer.offset), Infinity),
    own.reduce((max, buffer) => Math.max(max, buffer.offset + buffer.bytes), 0)] : null;
  return { buffers, entries, kinds, always, arena: packed.arena, lowerBound: packed.lowerBound, top, working };
}

const lifeText = (buffer, entries) => {
  if (buffer.entry < 0) return "lives in all entries";
  const entry = entries.find((each) => each.index === buffer.entry);
  const span = buffer.begin === buffer.end ? `command ${buffer.begin}` : `commands ${buffer.begin} to ${buffer.end}`;
  return `${entry ? entry.name : "entry not shown"}, ${span}${entry ? ` of ${entry.commands}` : ""}`;
};

// Dark or light letters, whichever can be read better on `rgb`.
function inkOn(rgb) {
  const [r, g, b] = rgb.match(/[\d.]+/g).slice(0, 3).map((part) => {
    const value = Number(part) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  // Contrast with white and with #10141b, whose luminance is 0.007.
  const luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.057 ? "#ffffff" : "#10141b";
}

function drawPlan() {
  const { canvas, facts } = plan;
  if (!canvas || !facts) return;
  const width = canvas.clientWidth, height = canvas.clientHeight, ratio = devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const g = canvas.getContext("2d");
  g.scale(ratio, ratio);
  const font = (size) => `${size}px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif`;
  const narrow = width < 560;
  const left = narrow ? 58 : 74, right = width - 4, top = 24, liveHeight = 64, axisHeight = 34;
  const bottom = height - liveHeight - axisHeight - 26;
  const [low, high] = plan.range;
  const yOf = (address) => bottom - ((address - low) / (high - low)) * (bottom - top);

  // Each entry at least wide enough for its name, the rest by commands.
  const gap = 8, count = Math.max(1, facts.entries.length), room = right - left - gap * (count - 1);
  const least = Math.min(narrow ? 44 : 64, room / count);
  const commands = facts.entries.reduce((sum, entry) => sum + entry.commands, 0);
  let at = left;
  for (const entry of facts.entries) {
    entry.x = at;
    entry.width = least + (room - least * count) * (entry.commands / commands);
    at += entry.width + gap;
  }
  const xOf = (entry, command) => entry.x + entry.width * Math.min(1, command / entry.commands);
  const entryOf = new Map(facts.entries.map((entry) => [entry.index, entry]));
  plan.geometry = { left, right, top, bottom, xOf, low, high };

  const text = color("text"), muted = color("muted"), grid = color("grid"), card = color("card"), line = color("line");
  const fills = new Map(facts.kinds.map(({ kind }) => [kind, color(kindColor(kind))]));

  // Addresses
  g.font = font(12);
  g.textBaseline = "middle";
  g.textAlign = "right";
  const step = niceBytes((high - low) / 5);
  for (let address = Math.ceil(low / step) * step; address <= high; address += step) {
    const y = Math.round(yOf(address)) + 0.5;
    g.strokeStyle = grid;
    g.beginPath();
    g.moveTo(left, y);
    g.lineTo(right, y);
    g.stroke();
    g.fillStyle = muted;
    g.fillText(address === 0 ? "0" : bytesText(Number(address.toPrecision(12))), left - 8, y);
  }

  // Buffers
  g.save();
  g.beginPath();
  g.rect(left, top, right - left, bottom - top);
  g.clip();
  plan.boxes = [];
  for (const buffer of facts.buffers) {
    const y1 = yOf(buffer.offset + buffer.bytes), y0 = yOf(buffer.offset);
    if (y0 < top || y1 > bottom) continue;
    let x0 = left, x1 = right;
    if (buffer.entry >= 0) {
      const entry = entryOf.get(buffer.entry);
      if (!entry) continue;
      x0 = xOf(entry, buffer.begin);
      x1 = xOf(entry, buffer.end + 1);
    }
    const box = { buffer, x: x0, y: y1, width: Math.max(1, x1 - x0), height: Math.max(0.75, y0 - y1) };
    plan.boxes.push(box);
    g.fillStyle = fills.get(buffer.kind);
    g.fillRect(box.x, box.y, box.width, box.height);
    if (box.height > 3 && box.width > 3) {
      g.strokeStyle = card;
      g.lineWidth = 0.75;
      g.strokeRect(box.x, box.y, box.width, box.height);
    }
  }
  // Names where there is room for them
  g.textAlign = "left";
  g.font = font(11);
  for (const { buffer, x, y, width: w, height: h } of plan.boxes) {
    if (h < 13 || w < 40) continue;
    const name = fittingName(g, buffer.name, w - 10);
    if (!name) continue;
    g.fillStyle = inkOn(fills.get(buffer.kind));
    g.fillText(name, Math.max(x, left) + 5, Math.min(bottom, y + h) / 2 + Math.max(top, y) / 2);
  }
  // Bands of many small buffers get the name of their kind.
  for (const band of bandsOf(facts)) {
    const y1 = Math.max(top, yOf(band.end)), y0 = Math.min(bottom, yOf(band.begin));
    if (y0 - y1 < 15 || band.count < 2 || band.largest * ((bottom - top) / (high - low)) >= 13) continue;
    g.font = `600 ${font(12)}`;
    const label = `${kindNames[band.kind] ?? band.kind}, ${bytesText(band.bytes)}`;
    g.fillStyle = fills.get(band.kind);
    g.fillRect(left + 5, (y0 + y1) / 2 - 8, g.measureText(label).width + 10, 16);
    g.fillStyle = inkOn(fills.get(band.kind));
    g.fillText(label, left + 10, (y0 + y1) / 2);
  }
  // The top of the arena
  if (facts.arena >= low && facts.arena <= high) {
    g.strokeStyle = text;
    g.setLineDash([4, 4]);
    g.beginPath();
    g.moveTo(left, yOf(facts.arena) + 0.5);
    g.lineTo(right, yOf(facts.arena) + 0.5);
    g.stroke();
    g.setLineDash([]);
  }
  g.restore();

  // Entries: names above, commands below
  g.textBaseline = "alphabetic";
  for (const entry of facts.entries) {
    g.fillStyle = text;
    g.font = `600 ${font(13)}`;
    g.textAlign = "left";
    g.fillText(entry.name, entry.x, top - 9);
    g.strokeStyle = line;
    g.strokeRect(entry.x - 0.5, top - 0.5, entry.width + 1, bottom - top + 1);
    g.fillStyle = muted;
    g.font = font(12);
    g.fillText("0", entry.x, bottom + 16);
    g.textAlign = "right";
    g.fillText(String(entry.commands), entry.x + entry.width, bottom + 16);
    if (entry.width > 240) {
      g.textAlign = "center";
      g.fillText("command number", entry.x + entry.width / 2, bottom + 16);
    }
  }

  // Bytes that live
  const most = Math.max(facts.top, ...facts.entries.map((entry) => entry.peak.bytes));
  const liveTop = height - liveHeight - 14, liveBottom = height - 14;
  g.font = font(12);
  g.textAlign = "right";
  g.fillStyle = muted;
  g.fillText("live", left - 8, liveTop + 10);
  g.fillText("bytes", left - 8, liveTop + 25);
  for (const entry of facts.entries) {
    g.beginPath();
    g.moveTo(entry.x, liveBottom);
    let y = liveBottom - (entry.live[0][1] / most) * liveHeight;
    for (const [command, bytes] of entry.live) {
      g.lineTo(xOf(entry, command), y);
      y = liveBottom - (bytes / most) * liveHeight;
      g.lineTo(xOf(entry, command), y);
    }
    g.lineTo(entry.x + entry.width, y);
    g.lineTo(entry.x + entry.width, liveBottom);
    g.closePath();
    g.fillStyle = withAlpha(color("accent"), 0.25);
    g.fill();
    g.strokeStyle = color("accent");
    g.lineWidth = 1.25;
    g.stroke();
  }

  if (plan.hovered) {
    const box = plan.boxes.find(({ buffer }) => buffer === plan.hovered);
    if (box) {
      const y1 = Math.max(top, box.y), y0 = Math.min(bottom, box.y + box.height);
      g.strokeStyle = text;
      g.lineWidth = 2;
      g.strokeRect(box.x, y1, box.width, Math.max(2, y0 - y1));
    }
  }
  if (plan.drag && plan.drag.to !== undefined) {
    const [y1, y0] = [Math.min(plan.drag.from, plan.drag.to), Math.max(plan.drag.from, plan.drag.to)];
    g.fillStyle = withAlpha(color("accent"), 0.25);
    g.fillRect(left, y1, right - left, y0 - y1);
  }
}

// 1, 2 or 5 times a power of ten, near `bytes`.
function niceBytes(bytes) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, bytes)));
  return [1, 2, 5, 10].find((factor) => factor * power >= bytes) * power;
}

// As much of a path as fits: its last parts say the most.
function fittingName(g, name, width) {
  const parts = name.split(/[/.]/);
  for (let from = 0; from < parts.length; ++from) {
    const tail = parts.slice(from).join(".");
    if (g.measureText(tail).width <= width) return tail;
  }
  return "";
}

// Stretches of neighbouring buffers of one kind that always live.
function bandsOf(facts) {
  if (facts.bands) return facts.bands;
  facts.bands = [];
  const always = facts.buffers.filter((buffer) => buffer.entry < 0).sort((a, b) => a.offset - b.offset);
  for (const buffer of always) {
    const last = facts.bands.at(-1);
    if (last && last.kind === buffer.kind) {
      last.end = buffer.offset + buffer.bytes;
      last.bytes += buffer.bytes;
      last.largest = Math.max(last.largest, buffer.bytes);
      ++last.count;
    } else {
      facts.bands.push({ kind: buffer.kind, begin: buffer.offset, end: buffer.offset + buffer.bytes, bytes: buffer.bytes, largest: buffer.bytes, count: 1 });
    }
  }
  return facts.bands;
}

// The buffer under a point, or the nearest one of those too thin to hit.
function bufferAt(x, y) {
  let nearest = null, distance = 3;
  for (let i = plan.boxes.length - 1; i >= 0; --i) {
    const box = plan.boxes[i];
    if (x < box.x || x > box.x + box.width) continue;
    const away = Math.max(box.y - y, y - box.y - box.height, 0);
    if (away === 0) return box.buffer;
    if (away < distance) {
      distance = away;
      nearest = box.buffer;
    }
  }
  return nearest;
}

function hoverPlan(event) {
  const { facts, canvas } = plan;
  const frame = canvas.getBoundingClientRect();
  const x = event.clientX - frame.left, y = event.clientY - frame.top;
  if (plan.drag) {
    plan.drag.to = Math.max(plan.geometry.top, Math.min(plan.geometry.bottom, y));
    hideTip();
    drawPlan();
    return;
  }
  const inside = y >= plan.geometry.top && y <= plan.geometry.bottom;
  const found = inside ? bufferAt(x, y) : null;
  if (found !== plan.hovered) {
    plan.hovered = found;
    drawPlan();
  }
  if (found) {
    const rows = [
      ["kind", kindNames[found.kind] ?? found.kind], ["bytes", `${plain(found.bytes)} (${bytesText(found.bytes)})`],
      ["address", plain(found.offset)], ["life", lifeText(found, facts.entries)]];
    showTip(event, element("div", "line", swatch(kindColor(found.kind)), element("span", "title", found.name)),
      ...rows.map(([label, value]) => element("div", "line", element("span", "muted", label), element("span", "figure", value))));
    return;
  }
  const entry = facts.entries.find((each) => x >= each.x && x <= each.x + each.width);
  if (!entry || y < plan.geometry.bottom + 20) return hideTip();
  const command = Math.min(entry.commands - 1, Math.floor(((x - entry.x) / entry.width) * entry.commands));
  const at = lastBelow(entry.live.map(([first]) => first), command);
  showTip(event, element("div", "muted", `${entry.name}, command ${command}`),
    element("div", "title", `${bytesText(entry.live[at][1])} live`), element("div", "muted", `peak ${bytesText(entry.peak.bytes)} at command ${entry.peak.at}`));
}

function setRange(range) {
  plan.range = range;
  plan.hovered = null;
  drawPlan();
}

function largestBuffers(facts) {
  const table = element("table");
  const head = element("tr", "", ...["buffer", "kind", "bytes", "address", "life"].map((title, i) => element("th", i === 2 || i === 3 ? "figure" : "", title)));
  table.append(element("thead", "", head));
  const body = element("tbody");
  for (const buffer of [...facts.buffers].sort((a, b) => b.bytes - a.bytes).slice(0, 20)) {
    const kind = element("td", "", swatch(kindColor(buffer.kind)), ` ${kindNames[buffer.kind] ?? buffer.kind}`);
    body.append(element("tr", "", element("td", "key", buffer.name), kind, element("td", "figure", plain(buffer.bytes)),
      element("td", "figure", plain(buffer.offset)), element("td", "", lifeText(buffer, facts.entries))));
  }
  table.append(body);
  return element("details", "", element("summary", "", "The 20 largest buffers"), element("div", "scroll", table));
}

function showPlanOf(index) {
  plan.run = index;
  const facts = (plan.facts = unpackPlan(runs[index].plan));
  plan.range = [0, facts.top];
  const canvas = (plan.canvas = element("canvas", "plan-canvas"));
  canvas.id = "plan-canvas";
  canvas.style.height = `${Math.min(640, Math.max(440, innerHeight * 0.7))}px`;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Memory plan of ${runs[index].name}: ${facts.buffers.length} buffers in an arena of ${bytesText(facts.arena)}`);

  const lines = [["arena", `${bytesText(facts.arena)} (${plain(facts.arena)} bytes)`]];
  if (known(facts.lowerBound))
    lines.push(["least possible", `${bytesText(facts.lowerBound)}${facts.lowerBound > 0 ? `, arena ${((facts.arena / facts.lowerBound - 1) * 100).toFixed(2)}% above` : ""}`]);
  lines.push(["always live", bytesText(facts.always)], ["buffers", plain(facts.buffers.length)]);
  for (const entry of facts.entries) lines.push([`most live in ${entry.name}`, bytesText(entry.peak.bytes)]);
  const figures = element("div", "facts", ...lines.map(([label, value]) => element("span", "", element("span", "muted", `${label} `), element("b", "", value))));

  const legend = element("ul", "legend");
  const most = (sums) => sums.always + sums.most;
  for (const sums of [...facts.kinds].sort((a, b) => most(b) - most(a)))
    legend.append(element("li", "", swatch(kindColor(sums.kind)), kindNames[sums.kind] ?? sums.kind,
      element("span", "muted", `${sums.most ? "at most " : ""}${bytesText(most(sums))}`)));

  canvas.addEventListener("pointermove", hoverPlan);
  canvas.addEventListener("pointerleave", () => {
    hideTip();
    plan.hovered = null;
    plan.drag = null;
    drawPlan();
  });
  canvas.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "mouse") return hoverPlan(event);
    plan.drag = { from: event.clientY - canvas.getBoundingClientRect().top };
  });
  canvas.addEventListener("pointerup", () => {
    const { drag, geometry } = plan;
    plan.drag = null;
    if (!drag || drag.to === undefined || Math.abs(drag.to - drag.from) < 5) return drawPlan();
    const addressOf = (y) => geometry.low + ((geometry.bottom - y) / (geometry.bottom - geometry.top)) * (geometry.high - geometry.low);
    const ends = [addressOf(Math.max(drag.from, drag.to)), addressOf(Math.min(drag.from, drag.to))];
    setRange([Math.max(0, ends[0]), Math.min(facts.top, ends[1])]);
  });
  canvas.addEventListener("dblclick", () => setRange([0, facts.top]));

  const ranges = [["arena", "Whole arena"]];
  if (facts.working) ranges.push(["working", "Working memory"]);
  const range = segments(element("div", "segments"), ranges, "arena", (value) => setRange(value === "arena" ? [0, facts.top] : facts.working));
  const withPlan = runs.map((run, i) => i).filter((i) => runs[i].plan);
  const choice = withPlan.length > 1 ? choiceOfRun(withPlan, index, showPlanOf) : element("span", "muted small", runs[index].name);
  byId("plan-controls").replaceChildren(choice, range);
  byId("plan").replaceChildren(
    element("p", "muted small", "What lives where in the arena, and when: across, the commands of each entry; up, addresses. Drag up or down to zoom, double-click to zoom out."),
    element("div", "card pad", figures, legend, canvas, largestBuffers(facts)));
  drawPlan();
}

function makePlan() {
  redraws.push(drawPlan);
  const first = runs.findIndex((run) => run.plan && run.plan.buffers.length);
  if (first >= 0) return showPlanOf(first);
  byId("plan").replaceChildren(element("div", "card absent", runs.length > 1 ? "No log of these runs has a memory plan (metadata.memory_plan)." : "The log of this run has no memory plan (metadata.memory_plan)."));
}
