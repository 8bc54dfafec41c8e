r"""Mathematics as a terminal can show it: docstrings have it in TeX, between `$`, and help() shows signs in its place.

    >>> readable(r"$\theta_t = \theta_{t-1} - \eta \frac{m_t}{\sqrt{v_t} + \epsilon}$")
    'θₜ = θₜ₋₁ - η mₜ / (√vₜ + ε)'
"""

from __future__ import annotations

import re

_GAP = "\0"
_LETTERS = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "eta": "η", "theta": "θ", "lambda": "λ",
    "mu": "μ", "nu": "ν", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ", "psi": "ψ", "omega": "ω",
    "Delta": "Δ", "Gamma": "Γ", "Sigma": "Σ", "Theta": "Θ", "Omega": "Ω", "sum": "Σ", "nabla": "∇", "infty": "∞",
    "cdot": "·", "odot": "⊙", "times": "×", "ge": "≥", "le": "≤", "ne": "≠", "in": "∈", "approx": "≈", "dots": "…",
    "ldots": "…", "leftarrow": "←", "to": "→", "lfloor": "⌊", "rfloor": "⌋", "top": "ᵀ", "lVert": "‖", "rVert": "‖",
    "lvert": "|", "rvert": "|", "left": "", "right": "", "quad": _GAP, "qquad": "\n", ",": "", ";": " ", " ": " ",
    "|": "‖", "{": "{", "}": "}", "!": "",
}  # fmt: skip
_OVER = {"hat": "\u0302", "bar": "\u0304", "tilde": "\u0303"}
_BELOW = dict(zip("0123456789+-=()aehijklmnoprstuvxβρ", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵨ", strict=True))
_ABOVE = dict(zip("0123456789+-=()abcdefghijklmnoprstuvwxyz", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ", strict=True))
_HALF = "½"
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\s+|.", re.DOTALL)
_APART = re.compile(r"^( *)\$\$(.+?)\$\$", re.DOTALL | re.MULTILINE)
# In quotation marks a `$` is that of a pattern.
_INLINE = re.compile(r"\$([^$\"`]+)\$")
_ENDS = re.compile(r"\s*(?:$|[-+=,.;:)\]}<>]|\\cdot|\\q?quad|\\[;,]|\\right|\\[lg]e\b)")
"""Behind a fraction: what makes it none that a factor follows."""


def readable(text: str) -> str:
    """A text with its formulas in signs; those that stand apart have a line for each equation.

    Args:
        text: with TeX between `$`, or between `$$` where a formula stands apart.
    """
    return _INLINE.sub(lambda found: " ".join(_lines(found[1])), _APART.sub(_standing_apart, text))


def _standing_apart(found: re.Match[str]) -> str:
    return "\n".join(f"{found[1]}    {line}" for line in _lines(found[2]))


def _lines(formula: str) -> list[str]:
    """The equations of a formula."""
    text = re.sub("⌊ ", "⌊", re.sub(" ⌋", "⌋", _Reader(formula).all()))
    return [" ".join(line.split()).replace(_GAP, " ") for line in text.split("\n") if line.strip()]


class _Reader:
    """Reads a formula from its beginning to its end."""

    def __init__(self, formula: str) -> None:
        self._formula, self._at = formula, 0

    def all(self) -> str:
        """All that is left."""
        return self._until("")

    def _next(self) -> str:
        found = _TOKEN.match(self._formula, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found.group()

    def _until(self, end: str) -> str:
        read: list[str] = []
        while (token := self._next()) and token != end:
            read.append(self._read(token))
        return "".join(read)

    def _argument(self) -> str:
        """The next group, sign or letter."""
        token = self._next()
        while token.isspace():
            token = self._next()
        return self._read(token)

    def _read(self, token: str) -> str:
        if not token:
            # The end, where something should follow.
            return ""
        if token == "{":
            return self._until("}")
        if token in "_^":
            return _raised(self._argument(), _BELOW if token == "_" else _ABOVE, token)
        if token.isspace():
            return " "
        name = token[1:] if token[0] == "\\" else ""
        if name in ("text", "operatorname", "mathrm"):
            return self._words()
        if name in ("frac", "tfrac"):
            return self._fraction()
        if name == "sqrt":
            return f"√{_grouped(self._argument())}"
        if name in _OVER:
            letter = self._argument()
            return letter[:1] + _OVER[name] + letter[1:]
        return _LETTERS.get(name, name) if name else token

    def _words(self) -> str:
        """A group of words, as it is."""
        words, _, rest = self._formula[self._at :].partition("}")
        self._at = len(self._formula) - len(rest)
        return words.lstrip(" {")

    def _fraction(self) -> str:
        above, below = self._argument(), self._argument()
        if (above, below) == ("1", "2"):
            return _HALF
        above = f"({above})" if re.search(r" [-+] ", _bare(above)) else above
        fraction = f"{above} / {_grouped(below)}"
        return fraction if _ENDS.match(self._formula, self._at) else f"({fraction})"


def _raised(text: str, signs: dict[str, str], mark: str) -> str:
    """An index or a power: in small signs where there are such."""
    text = text.strip()
    if text and all(letter in signs for letter in text):
        return "".join(signs[letter] for letter in text)
    return f"{mark}{text}" if text.isalnum() or len(text) < 2 else f"{mark}({text})"


def _grouped(text: str) -> str:
    """A text in parentheses, unless it is one quantity."""
    text = text.strip()
    return text if re.fullmatch(r"√?\w[^\s()+\-/·]*|√?\(\)", _bare(text, "()")) else f"({text})"


def _bare(text: str, instead: str = "") -> str:
    """A text without what stands in parentheses."""
    while (shorter := re.sub(r"\([^()]+\)", "\0", text)) != text:
        text = shorter
    return text.replace("\0", instead)
