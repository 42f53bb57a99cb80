# page: reads pages as XML and as HTML and says what is wrong with them: elements left open, addresses outside the page.
# SPDX-License-Identifier: MIT
import html.parser
import sys
import xml.etree.ElementTree

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.seen = [], [], set()

    def handle_starttag(self, tag, attributes):
        self.seen.add(tag)
        for name, value in attributes:
            if name in ("src", "href") and not value.startswith("#"):
                self.wrong.append("leads outside: " + value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append("</%s> closes something else" % tag)


for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        content = file.read()
    xml.etree.ElementTree.fromstring(content)
    page = Page()
    page.feed(content)
    page.close()
    missing = {"title", "style", "table", "svg", "script"} - page.seen
    for text in page.wrong + ["left open: " + tag for tag in page.open] + ["no <%s>" % tag for tag in sorted(missing)]:
        print("%s: %s" % (path, text))
    if page.wrong or page.open or missing:
        sys.exit(1)
