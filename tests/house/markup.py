"""Markdown as TensorBoard reads it."""

from html.parser import HTMLParser

from markdown import Markdown


class Tags(HTMLParser):
    """The tags and the text that markdown becomes in TensorBoard, before it is made safe."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(Markdown(extensions=["tables", "fenced_code"]).convert(text))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data
