"""Looks at a page of txreport in a browser: check_page.py PAGE [--plan] [--absent] [--evil] [--screenshots=FOLDER].

In light and dark, 1280 and 390 pixels wide: nothing is logged to the console,
thrown or loaded; every plot is drawn; nothing sticks out to the side; pointing
at a plot and at the memory plan tells what is there; all controls work.
  --plan    a memory plan and a FLOP ledger are expected
  --absent  they, and most plots, are not in the logs, and the page says so
  --evil    a run's name is HTML, and stays text
"""
import os
import sys

from browser import Browser

page = sys.argv[1]
flags = sys.argv[2:]
screenshots = next((flag.split("=", 1)[1] for flag in flags if flag.startswith("--screenshots=")), None)

CANVASES = """[...document.querySelectorAll("canvas")].map(canvas => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", {willReadFrequently: true});
  copy.drawImage(canvas, 0, 0);
  const {data} = copy.getImageData(0, 0, canvas.width, canvas.height);
  const colors = new Set();
  let drawn = 0;
  for (let i = 0; i < data.length; i += 4)
    if (data[i + 3]) { ++drawn; colors.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]); }
  const card = canvas.closest("[data-chart]");
  return {chart: card ? card.dataset.chart : canvas.id, drawn, colors: colors.size};
})"""
CHARTS = ["loss", "lr", "norm", "time", "tokens", "mfu", "memory"]


def middle(browser, selector, down=0.5):
    browser.evaluate("document.querySelector(%r).scrollIntoView({block: 'center'})" % selector)
    browser.settle()
    x, y, w, h = browser.evaluate(
        "(r => [r.x, r.y, r.width, r.height])(document.querySelector(%r).getBoundingClientRect())" % selector)
    return x + w / 2, y + h * down


def tip(browser):
    return browser.evaluate("document.getElementById('tip').hidden ? '' : document.getElementById('tip').innerText")


def luminance(rgb):
    parts = [float(p) / 255 for p in rgb[rgb.index("(") + 1 : -1].replace(",", " ").split()[:3]]
    parts = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(browser, front, back):
    a, b = sorted((luminance(browser.evaluate("color(%r)" % name)) for name in (front, back)), reverse=True)
    return (a + 0.05) / (b + 0.05)


def check_charts(browser):
    canvases = {canvas["chart"]: canvas for canvas in browser.evaluate(CANVASES)}
    expected = ["loss", "time"] if "--absent" in flags else CHARTS + (["plan-canvas"] if "--plan" in flags else [])
    for chart in expected:
        assert canvases[chart]["drawn"] > 500 and canvases[chart]["colors"] > 3, canvases
    if "--absent" in flags:
        assert set(canvases) == set(expected), canvases
        text = browser.evaluate("document.body.innerText")
        assert "No log of these runs has a memory plan" in text and "No log of these runs has a FLOP ledger" in text
        assert "No run that is shown has this figure in its log." in text


def check_plan(browser):
    x, y = middle(browser, "#plan-canvas", 0.55)
    browser.mouse("mouseMoved", x, y)
    said = tip(browser)
    assert "." in said.split("\n")[0] and "bytes" in said and "life" in said, said
    # Working memory, then a stretch of it, then all again
    spans = []
    look = "plan.range[1] - plan.range[0]"
    spans.append(browser.evaluate(look))
    browser.evaluate("document.querySelectorAll('#plan-controls .segments button')[1].click()")
    spans.append(browser.evaluate(look))
    x, y = middle(browser, "#plan-canvas", 0.3)
    browser.mouse("mousePressed", x, y, button="left", clickCount=1)
    browser.mouse("mouseMoved", x, y + 60, button="left", buttons=1)
    browser.mouse("mouseReleased", x, y + 60, button="left", clickCount=1)
    spans.append(browser.evaluate(look))
    assert spans[0] > spans[1] > spans[2] > 0, spans
    browser.mouse("mousePressed", x, y, button="left", clickCount=2)
    browser.mouse("mouseReleased", x, y, button="left", clickCount=2)
    assert browser.evaluate(look) == spans[0], browser.evaluate(look)
    browser.mouse("mouseMoved", 5, 5)
    assert tip(browser) == "", tip(browser)
    assert browser.evaluate("document.querySelectorAll('.bars .track span').length") > 3
    x, y = middle(browser, ".bars .track")
    browser.mouse("mouseMoved", x, y)
    assert "forward" in tip(browser), tip(browser)


def check_controls(browser):
    x, y = middle(browser, "[data-chart=loss] .u-over", 0.5)
    browser.mouse("mouseMoved", x, y)
    if "--absent" not in flags:
        assert "Iteration" in tip(browser), tip(browser)
        browser.mouse("mousePressed", x - 40, y, button="left", clickCount=1)
        browser.mouse("mouseMoved", x + 40, y, button="left", buttons=1)
        browser.mouse("mouseReleased", x + 40, y, button="left", clickCount=1)
        widths = browser.evaluate("plots.filter(p => p.chart).map(p => p.chart.scales.x.max - p.chart.scales.x.min)")
        assert max(widths) < 0.6 * browser.evaluate("plots[0].extent.max - plots[0].extent.min"), widths
        browser.evaluate("document.getElementById('reset-zoom').click()")
        browser.settle()
        assert browser.evaluate("plots[0].chart.scales.x.max === plots[0].extent.max")
    # Every control of the page once; the charts are still there afterwards.
    browser.evaluate("""(async () => {
      for (const button of document.querySelectorAll("#axis button, .chart .right button, .controls .segments button")) {
        button.click();
        await new Promise(done => requestAnimationFrame(done));
      }
      const slider = document.getElementById("smoothing");
      slider.value = 0;
      slider.dispatchEvent(new Event("input"));
      for (const select of document.querySelectorAll("select"))
        for (const option of [...select.options]) {
          select.value = option.value;
          select.dispatchEvent(new Event("change"));
        }
      for (const chip of document.querySelectorAll(".chip")) { chip.click(); }
      const gone = document.querySelectorAll("#charts .absent").length;
      if (document.querySelectorAll(".chip").length > 1 && gone !== 7) throw new Error(`${gone} plots of no runs`);
      for (const chip of document.querySelectorAll(".chip")) { chip.click(); }
      document.querySelector("#axis button").click();
    })()""")
    before = browser.evaluate("isDark()")
    browser.evaluate("document.getElementById('theme').click()")
    assert browser.evaluate("isDark()") != before
    browser.settle()
    if "--absent" not in flags:
        check_charts(browser)


with Browser() as browser:
    for dark in (False, True):
        for width in (1280, 390):
            browser.open(page, width, 900, dark)
            where = "%s at %d pixels" % ("dark" if dark else "light", width)
            assert not browser.complaints, (where, browser.complaints)
            assert browser.evaluate("isDark()") == dark
            assert browser.evaluate("document.documentElement.scrollWidth") <= width, where
            check_charts(browser)
            for name in ("text", "muted", "accent", "warn"):
                for back in ("page", "card"):
                    assert contrast(browser, name, back) >= 4.5, (where, name, back, contrast(browser, name, back))
            for name in ["run-%d" % i for i in range(8)]:
                assert contrast(browser, name, "card") >= 3, (where, name, contrast(browser, name, "card"))
            if "--evil" in flags:
                means = browser.evaluate("document.getElementById('means').innerText")
                assert "2L-2H-64D-RoPE-RMS-SwiGLU-PreNorm\t2\t1.8744\t42.00%\t13.0\t19,200" in means, means
                assert browser.evaluate("document.querySelectorAll('img').length") == 0
                assert browser.evaluate("document.body.innerText.includes('<img src=x')"), where
            if screenshots:
                os.makedirs(screenshots, exist_ok=True)
                name = os.path.basename(page).replace(".html", "")
                browser.screenshot("%s/%s-%d-%s.png" % (screenshots, name, width, "dark" if dark else "light"))
            if "--plan" in flags:
                check_plan(browser)
            check_controls(browser)
            assert not browser.complaints, (where, browser.complaints)
print("looked at", page)
