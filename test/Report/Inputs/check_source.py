"""A page's source: three scripts and nothing from elsewhere, with the licence of the plotting library."""
import html.parser
import json
import sys


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.inside, self.scripts = [], None, []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        attributes = dict(attributes)
        assert not any(name.startswith("on") or name in ("src", "href") for name in attributes), (tag, attributes)
        if tag == "script":
            self.scripts.append([attributes.get("type"), ""])

    def handle_data(self, text):
        if self.tags and self.tags[-1] == "script" and self.scripts:
            self.scripts[-1][1] += text


source = open(sys.argv[1], encoding="utf-8").read()
page = Page()
page.feed(source)
assert [kind for kind, _ in page.scripts] == ["application/json", None, None], page.scripts
assert "img" not in page.tags and "link" not in page.tags and "iframe" not in page.tags
assert "default-src 'none'" in source and "Permission is hereby granted" in source
data = page.scripts[0][1]
data = json.loads(data[: data.rindex("}") + 1])
assert any("</script>" in run["name"] for run in data["runs"])
assert "</script><script>throw" not in source
