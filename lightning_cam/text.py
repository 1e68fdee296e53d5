r"""Text that others wrote, made harmless: names of classes, files, layers and cues may hold anything.

>>> printable("a\x1b[31mb\n")
'a?[31mb?'
"""

import math
import re
import shlex
import unicodedata
from collections.abc import Sequence
from pathlib import Path

_JOINERS = "\u200c\u200d"  # without width; Persian and the scripts of India need them between letters
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for a formula (OWASP, "CSV Injection")


def percent(share: float) -> str:
    """A share in whole percent; 100 % is said of all alone, and 0 % of none.

    >>> percent(0.834), percent(199 / 200), percent(0.99999), percent(0.001), percent(1.0)
    ('83 %', '99.5 %', '99.9 %', 'below 1 %', '100 %')
    """
    if math.isnan(share):
        return "-"
    rounded = round(100 * share)
    if rounded == 100 and share < 1:
        return f"{math.floor(min(1000 * share, 999)) / 10:g} %"
    return "below 1 %" if rounded == 0 and share > 0 else f"{rounded} %"


def class_name(classes: Sequence[str], index: int) -> str:
    """A model may have more classes than there are names.

    >>> class_name(["cat", "dog"], 2)
    'class 2'
    """
    return classes[index] if index < len(classes) else f"class {index}"


def printable(text: object) -> str:
    """One line of text without the characters that steer a terminal."""
    return "".join(letter if letter.isprintable() or letter in _JOINERS else "?" for letter in str(text))


def typed(path: Path) -> str:
    """A path as it is typed into a shell: from the current folder, or from that of the user, whose name is nobody's.

    >>> typed(Path("runs/my first")), typed(Path.home() / "runs")
    ("'runs/my first'", '~/runs')
    """
    whole, home = path.absolute(), Path.home()
    if whole.is_relative_to(Path.cwd()):
        return shlex.quote(str(whole.relative_to(Path.cwd())))
    return f"~/{shlex.quote(str(whole.relative_to(home)))}" if whole.is_relative_to(home) else shlex.quote(str(whole))


def words(text: str, *, also: str = "-_") -> str:
    """Letters, accents and digits of any script; an underscore for everything else, except what ``also`` lists.

    >>> words("gelbe Käfer: 3"), words("../狗")
    ('gelbe_Käfer_3', '_狗')
    """
    letters = unicodedata.normalize("NFC", text)  # a folder's name is read with its accents apart on macOS
    return re.sub("\0+", "_", "".join(c if c in also or unicodedata.category(c)[0] in "LMN" else "\0" for c in letters))


def shortened(text: str, n: int = 300) -> str:
    r"""At most ``n`` letters of a text, in one line.

    >>> shortened("shapes do not match:\n  (1, 2)", 16)
    'shapes do not ma...'
    """
    line = " ".join(text.split())
    return line if len(line) <= n else f"{line[:n]}..."


def escape(text: str) -> str:
    r"""Text that markdown and HTML show as it is.

    >>> escape("a|b *c* <script>")
    'a\\|b \\*c\\* &lt;script&gt;'
    """
    line = printable(" ".join(text.split())).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*{}\[\]()#+.!|-]|\b_|_\b)", r"\\\1", line)


def key_part(text: str) -> str:
    """Last part of a logged key, of which a logger makes file names.

    >>> key_part("../a")
    '.._a'
    """
    return re.sub(r"[/\\]", "_", printable(text))


def message(text: str) -> str:
    """A line for a chat or a mail, where ``<...>`` would be a link or call everybody.

    >>> message("<!channel>")
    '(!channel)'
    """
    return printable(text).replace("<", "(").replace(">", ")")


def cell(text: str) -> str:
    """A cell of a table that may end in a spreadsheet.

    >>> cell("=1+1"), cell("cat_1")
    ("'=1+1", 'cat_1')
    """
    return f"'{printable(text)}" if text.startswith(_FORMULA) else printable(text)


def error_text(error: BaseException) -> str:
    """Class and message of an exception; the object itself would keep its frames' tensors alive."""
    return f"{type(error).__name__}: {error}"
