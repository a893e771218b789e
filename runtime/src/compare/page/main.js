// Puts the page together.

const several = runs.length > 1;
const title = several ? `${runs.length} runs compared` : runs[0].architecture || runs[0].name;
document.title = `${title} – txreport`;
byId("title").textContent = title;
const architectures = [...new Set(runs.map((run) => run.architecture).filter(Boolean))];
byId("subtitle").textContent = several
  ? (architectures.length > 1 ? `${architectures.length} architectures` : architectures[0] ?? "")
  : [runs[0].name, runs[0].state, runs[0].error].filter(Boolean).join(" · ");

runs.forEach((run, index) => {
  const chip = button("", () => {
    view.shown[index] = !view.shown[index];
    chip.setAttribute("aria-pressed", view.shown[index]);
    drawCharts();
  }, "chip");
  chip.append(swatch(runColor(index), "line"), run.name);
  chip.title = run.architecture;
  chip.setAttribute("aria-pressed", true);
  byId("runs").append(chip);
});
document.querySelector("nav.runs").hidden = !several;

// The system's choice of light or dark, until the reader makes one.
const themeButton = byId("theme");
const nameTheme = () => (themeButton.textContent = isDark() ? "Light" : "Dark");
themeButton.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
  redrawAll();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  nameTheme();
  redrawAll();
});
nameTheme();

makeTiles();
makeSummary();
makeMeans();
makeCharts();
makePlan();
makeFlops();
makeSettings();
drawCharts();

let width = innerWidth, waiting = 0;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(redrawAll);
});
addEventListener("scroll", hideTip, { passive: true });
