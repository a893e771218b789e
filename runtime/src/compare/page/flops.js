// The FLOP ledger: bars by operation and by layer, forward and backward.

const ledger = { run: -1, causal: false };

// Op names ending in _vjp, and those that make gradients, are of the backward pass.
const isBackward = (op) => /_vjp|grad|backward/.test(op);

// "blocks.3.attn.qkv" is layer "blocks.3" and operation "attn.qkv".
function partsOf(name) {
  const match = name.match(/^(.*?\.\d+)\.(.+)$/);
  return match ? { layer: match[1], group: match[2] } : { layer: name, group: name };
}

function sumBy(lines, keyOf) {
  const sums = new Map();
  for (const [name, op, full, causal] of lines) {
    const key = keyOf(partsOf(name), op);
    const sum = sums.get(key) ?? { name: key, forward: 0, backward: 0 };
    sum[isBackward(op) ? "backward" : "forward"] += ledger.causal ? causal : full;
    sums.set(key, sum);
  }
  return [...sums.values()];
}

// Equal neighbours as one line, since the layers of a model mostly are.
function mergeEqual(sums) {
  const out = [];
  for (const sum of sums) {
    const last = out.at(-1);
    if (last && last.forward === sum.forward && last.backward === sum.backward && /\.\d+$/.test(sum.name)) {
      last.count += 1;
      last.name = `${last.first} … ${sum.name.match(/\d+$/)[0]}`;
      continue;
    }
    out.push({ ...sum, first: sum.name, count: 1 });
  }
  for (const each of out) if (each.count > 1) each.name += ", each";
  return out;
}

function barsOf(sums, total) {
  const most = Math.max(...sums.map((sum) => sum.forward + sum.backward));
  const box = element("div", "bars");
  for (const sum of sums) {
    const track = element("div", "track");
    for (const part of ["forward", "backward"]) {
      if (!sum[part]) continue;
      const bar = element("span");
      bar.style.width = `${(100 * sum[part]) / most}%`;
      bar.style.background = `var(--${part})`;
      track.append(bar);
    }
    const all = sum.forward + sum.backward;
    const name = element("span", "name", sum.name);
    const amount = element("span", "amount", `${prefixed(all)}FLOP `, element("span", "muted", `${((100 * all) / total).toFixed(1)}%`));
    for (const node of [name, track, amount])
      node.addEventListener("pointermove", (event) => showTip(event, element("div", "title", sum.name),
        ...["forward", "backward"].map((part) => element("div", "line", swatch(part), element("span", "label", part), element("span", "figure", plain(sum[part])))),
        element("div", "line", element("span", "label", "together"), element("span", "figure", plain(all)))));
    box.append(name, track, amount);
  }
  box.addEventListener("pointerleave", hideTip);
  return box;
}

function showFlopsOf(index) {
  ledger.run = index;
  const run = runs[index];
  const groups = sumBy(run.flops, (parts) => parts.group).sort((a, b) => b.forward + b.backward - a.forward - a.backward);
  const layers = mergeEqual(sumBy(run.flops, (parts) => parts.layer));
  const total = groups.reduce((sum, group) => sum + group.forward + group.backward, 0);
  const withLedger = runs.map((each, i) => i).filter((i) => runs[i].flops.length);
  const choice = withLedger.length > 1 ? choiceOfRun(withLedger, index, showFlopsOf) : element("span", "muted small", run.name);
  const convention = segments(element("div", "segments"), [[false, "Attention in full"], [true, "Causal"]], ledger.causal, (causal) => {
    ledger.causal = causal;
    showFlopsOf(ledger.run);
  });
  byId("flops-controls").replaceChildren(choice, convention);
  const legend = element("ul", "legend", element("li", "", swatch("forward"), "forward"), element("li", "", swatch("backward"), "backward"));
  byId("flops").replaceChildren(
    element("p", "muted small", `FLOPs of matrix products and attention in one micro batch, ${ledger.causal ? "attention over the visible pairs only" : "attention over the whole square (PaLM's convention)"}: ${plain(total)} together.`),
    legend,
    element("div", "ledgers",
      element("div", "card pad", element("h3", "", "By operation, all layers"), barsOf(groups, total)),
      element("div", "card pad", element("h3", "", "By layer"), barsOf(layers, total))));
}

function makeFlops() {
  const first = runs.findIndex((run) => run.flops.length);
  if (first >= 0) return showFlopsOf(first);
  byId("flops").replaceChildren(element("div", "card absent", runs.length > 1 ? "No log of these runs has a FLOP ledger (metadata.flops)." : "The log of this run has no FLOP ledger (metadata.flops)."));
}
