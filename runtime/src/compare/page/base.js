"use strict";
// What all parts of the page share: its data, elements, colours, figures as
// people read them, and the tip that follows the pointer.

const data = JSON.parse(document.getElementById("data").textContent);
const runs = data.runs;
const byId = (id) => document.getElementById(id);

// Text from logs goes through here and so stays text.
function element(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const child of children)
    if (child !== null && child !== undefined) node.append(child);
  return node;
}

function button(text, onClick, className) {
  const node = element("button", className, text);
  node.type = "button";
  node.addEventListener("click", onClick);
  return node;
}

// One of several choices; `options` are [value, text].
function segments(parent, options, selected, onSelect) {
  const buttons = options.map(([value, text]) => {
    const node = button(text, () => {
      for (const each of buttons) each.setAttribute("aria-pressed", each === node);
      onSelect(value);
    });
    node.setAttribute("aria-pressed", value === selected);
    return node;
  });
  parent.replaceChildren(...buttons);
  return parent;
}

function choiceOfRun(indices, selected, onSelect) {
  const select = element("select");
  select.setAttribute("aria-label", "Run");
  for (const index of indices) {
    const option = element("option", "", runs[index].name);
    option.value = index;
    select.append(option);
  }
  select.value = selected;
  select.addEventListener("change", () => onSelect(Number(select.value)));
  return select;
}

// Colours

const probe = element("span");
probe.hidden = true;
document.body.append(probe);

// A style variable as a colour that canvases take.
function color(name) {
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

function withAlpha(rgb, alpha) {
  return rgb.replace(/^rgba?\(([^)]*)\)$/, (all, parts) => `rgb(${parts.split(/[ ,]+/).slice(0, 3).join(" ")} / ${alpha})`);
}

const numberOfRunColors = 8;
const runColor = (index) => `run-${index % numberOfRunColors}`;

function swatch(variable, shape = "") {
  const node = element("span", `swatch ${shape}`);
  node.style.background = `var(--${variable})`;
  return node;
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

// Figures

const dash = "–";
const known = (value) => value !== null && value !== undefined;
const plain = (value) => (known(value) ? value.toLocaleString("en-US", { maximumFractionDigits: 0 }) : dash);
const fixed = (value, digits) => (known(value) ? value.toFixed(digits) : dash);

function prefixed(value, digits = 3) {
  if (!known(value)) return dash;
  const steps = ["", "k", "M", "G", "T", "P", "E"];
  let step = 0;
  while (Math.abs(value) >= 999.5 && step < steps.length - 1) {
    value /= 1000;
    ++step;
  }
  const text = step === 0 && Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(digits)));
  return steps[step] ? `${text} ${steps[step]}` : text;
}

const bytesText = (bytes) => {
  const text = prefixed(bytes);
  return /[a-zA-Z]$/.test(text) ? `${text}B` : `${text} B`;
};

function timeText(ms) {
  if (!known(ms)) return dash;
  return ms < 10 ? ms.toFixed(2) : ms < 1000 ? ms.toFixed(1) : plain(ms);
}

// The tip

const tip = byId("tip");

function showTip(event, ...children) {
  tip.replaceChildren(...children);
  tip.hidden = false;
  const gap = 14;
  const box = tip.getBoundingClientRect();
  let left = event.clientX + gap;
  if (left + box.width > innerWidth - 8) left = event.clientX - gap - box.width;
  let top = event.clientY + gap;
  if (top + box.height > innerHeight - 8) top = event.clientY - gap - box.height;
  tip.style.left = `${Math.max(8, Math.min(left, innerWidth - 8 - box.width))}px`;
  tip.style.top = `${Math.max(8, top)}px`;
}

function hideTip() {
  tip.hidden = true;
}

// What is drawn on canvases is drawn anew when the theme or the width changes.
const redraws = [];
const redrawAll = () => redraws.forEach((redraw) => redraw());
