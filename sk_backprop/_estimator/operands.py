"""Operands: names and expressions that may stand for an input in a formula.

A formula multiplies its inputs: `2.0 * a+b` is not twice the sum. Names that the language, its
headers or the formula itself use for something else would compile to another function, or fail.
"""

import ast
import keyword
import re
from typing import NamedTuple


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# The keywords of C23 and C++23, except those that begin with an underscore, and `asm`.
_C_KEYWORDS = _words(
    "alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t "
    "char8_t class co_await co_return co_yield compl concept const const_cast consteval constexpr "
    "constinit continue decltype default delete do double dynamic_cast else enum explicit export "
    "extern false float for friend goto if inline int long mutable namespace new noexcept not "
    "not_eq nullptr operator or or_eq private protected public register reinterpret_cast requires "
    "restrict return short signed sizeof static static_assert static_cast struct switch template "
    "this thread_local throw true try typedef typeid typename typeof typeof_unqual union unsigned "
    "using virtual void volatile wchar_t while xor xor_eq"
)
# Types and macros of <math.h>, <stddef.h> and <errno.h>, including those of POSIX, and names that
# compilers predefine. (Functions are not reserved: an input may shadow those that a formula does
# not call, such as y1.)
_C_NAMES = _words(
    "NULL offsetof size_t ptrdiff_t max_align_t nullptr_t unreachable float_t double_t "
    "INFINITY NAN MAXFLOAT HUGE DOMAIN SING OVERFLOW UNDERFLOW PLOSS TLOSS X_TLOSS "
    "math_errhandling errno errno_t linux unix i386 vax sun near far "
    "E2BIG EACCES EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EAGAIN EALREADY EBADF EBADMSG EBUSY "
    "ECANCELED ECHILD ECONNABORTED ECONNREFUSED ECONNRESET EDEADLK EDESTADDRREQ EDOM EDQUOT EEXIST "
    "EFAULT EFBIG EHOSTUNREACH EIDRM EILSEQ EINPROGRESS EINTR EINVAL EIO EISCONN EISDIR ELOOP "
    "EMFILE EMLINK EMSGSIZE EMULTIHOP ENAMETOOLONG ENETDOWN ENETRESET ENETUNREACH ENFILE ENOBUFS "
    "ENODATA ENODEV ENOENT ENOEXEC ENOLCK ENOLINK ENOMEM ENOMSG ENOPROTOOPT ENOSPC ENOSR ENOSTR "
    "ENOSYS ENOTCONN ENOTDIR ENOTEMPTY ENOTRECOVERABLE ENOTSOCK ENOTSUP ENOTTY ENXIO EOPNOTSUPP "
    "EOVERFLOW EOWNERDEAD EPERM EPIPE EPROTO EPROTONOSUPPORT EPROTOTYPE ERANGE EROFS "
    "ESOCKTNOSUPPORT ESPIPE ESRCH ESTALE ETIME ETIMEDOUT ETXTBSY EWOULDBLOCK EXDEV "
    # Those of Linux, which <errno.h> defines too.
    "EADV EBADE EBADFD EBADR EBADRQC EBADSLT EBFONT ECHRNG ECOMM EDEADLOCK EDOTDOT EHOSTDOWN "
    "EHWPOISON EISNAM EKEYEXPIRED EKEYREJECTED EKEYREVOKED EL2HLT EL2NSYNC EL3HLT EL3RST ELIBACC "
    "ELIBBAD ELIBEXEC ELIBMAX ELIBSCN ELNRNG EMEDIUMTYPE ENAVAIL ENOANO ENOCSI ENOKEY ENOMEDIUM "
    "ENONET ENOPKG ENOTBLK ENOTNAM ENOTUNIQ EPFNOSUPPORT EREMCHG EREMOTE EREMOTEIO ERESTART "
    "ERFKILL ESHUTDOWN ESRMNT ESTRPIPE ETOOMANYREFS EUCLEAN EUNATCH EUSERS EXFULL"
)
# Families of names that C reserves: for macros of its headers, and for its implementation.
_C_FAMILIES = re.compile(r"(M|FP|MATH|HUGE|DEC|SNAN)_\w+|HUGE_?\w*|SNAN\w*|_[A-Z_]\w*")

# Functions that formulas call, by language.
_CALLED = {
    "python": {"tanh", "exp", "maximum"},
    "c": {"tanh", "exp", "fmax"},
    "excel": {"TANH", "EXP", "MAX"},
}


def is_reserved(name: str, syntax: str) -> bool:
    """Whether a name means something else in a formula."""
    if syntax == "excel":  # which ignores case
        return name.upper() in {"TRUE", "FALSE", "R", "C"} | _CALLED[syntax]
    if name in _CALLED[syntax]:
        return True
    if syntax == "python":
        return keyword.iskeyword(name) or name == "__debug__"
    return name in _C_KEYWORDS | _C_NAMES or _C_FAMILIES.fullmatch(name) is not None


def default_name(feature: str, syntax: str) -> str:
    """A name derived from that of a feature; it may still be reserved."""
    name = re.sub(r"\W", "_", feature, flags=re.ASCII)
    if syntax == "c" and re.match("_[A-Z_]", name):
        return f"x{name}"
    return f"_{name}" if name[:1].isdigit() else name


def operand(text: str, syntax: str) -> str:
    """The text for an input: unchanged, or in parentheses if it is an expression.

    Raises ValueError, which says why, for what cannot be an operand of a product.
    """
    text = text.strip()
    if not text.isprintable():
        raise ValueError("it has a line break or another control character")
    if not text:
        raise ValueError("it is empty")
    if is_reserved(text, syntax):
        raise ValueError("it is a name that the language or the formula uses for something else")
    is_primary = _python if syntax == "python" else _GRAMMARS[syntax].is_primary
    return text if is_primary(text) else f"({text})"


def _python(text: str) -> bool:
    """Whether no operator of a Python expression binds less tightly than a product."""
    try:
        node = ast.parse(text, mode="eval").body
        ast.parse(f"({text})", mode="eval")  # not with a comment at the end
    except SyntaxError as error:
        raise ValueError(f"Python cannot read it: {error.msg}") from error
    if isinstance(node, ast.Constant):
        if type(node.value) not in (int, float):
            raise ValueError("it is not a number")
        return True
    if isinstance(node, ast.BinOp | ast.UnaryOp | ast.BoolOp | ast.Compare | ast.IfExp):
        return False
    if not isinstance(node, ast.Name | ast.Attribute | ast.Subscript | ast.Call):
        raise ValueError("it is not the name of an input or an expression of one value")
    return True


_CLOSING = {"(": ")", "[": "]", "{": "}"}


class _Grammar(NamedTuple):
    """The part of a language's grammar that shows where an operand begins and ends.

    token : pattern of one token
    operand : pattern of tokens that are operands
    joining : operators that bind more tightly than a product, and make one operand of two
    operators, before, after : other binary operators; prefix and postfix operators
    opening : brackets
    """

    token: re.Pattern[str]
    operand: re.Pattern[str]
    joining: frozenset[str]
    operators: frozenset[str]
    before: frozenset[str]
    after: frozenset[str]
    opening: str

    def is_primary(self, text: str) -> bool:
        """Whether no operator of an expression binds less tightly than a product."""
        primary, complete = True, False  # complete: whether an operand has just ended
        brackets: list[str] = []
        empty_call = False  # whether a bracket that may close at once has just opened
        for token in self.token.findall(text):
            if token.isspace():
                continue
            closes = bool(brackets) and token == brackets[-1] and (complete or empty_call)
            if token in _CLOSING and token in self.opening and (complete or token != "["):
                brackets.append(_CLOSING[token])
                empty_call = complete and token == "("
                complete = False
                continue
            if closes:
                brackets.pop()
                complete = True
            elif not complete and self.operand.fullmatch(token):
                complete = True
            elif complete and token in self.joining:
                complete = False
            elif complete and token in self.operators:
                if token in ",;" and not brackets:
                    raise ValueError("it has more than one value")
                primary, complete = primary and bool(brackets), False
            elif token in (self.after if complete else self.before):
                primary = primary and bool(brackets)
            else:
                raise ValueError(f"{token!r} is out of place")
            empty_call = False
        if brackets:
            raise ValueError(f"{brackets[-1]!r} is missing")
        if not complete:
            raise ValueError("it ends within an expression")
        return primary


_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
# Text that begins like a number, up to its end.
_LIKE_NUMBER = r"\.?\d(?:[eE][+-]|[\w.])*"
_C_TEXT = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
_C_OPERAND = rf"(?:{_NUMBER})[fFlLuU]*|[^\W\d]\w*|{_C_TEXT}"
_SHEET = r"(?:'(?:[^']|'')+'|(?:\[[^\[\]]+\])?[^\W\d][\w.]*(?::[^\W\d][\w.]*)?)!"
_COLUMN = r"\[(?:[^\[\]]|\[[^\[\]]*\])*\]"
_EXCEL_WORD = rf"\$?[^\W\d][\w.$?\\]*(?:{_COLUMN})?"
_EXCEL_OPERAND = rf"(?:{_SHEET})?{_EXCEL_WORD}|{_COLUMN}|{_NUMBER}|\"(?:[^\"]|\"\")*\""
_GRAMMARS = {
    "c": _Grammar(
        token=re.compile(
            rf"\s+|{_LIKE_NUMBER}|{_C_OPERAND}|//|/\*|->|\+\+|--|<<=|>>=|<<|>>|[-+*/%&|^<>=!]=|&&|\|\||."
        ),
        operand=re.compile(_C_OPERAND),
        joining=_words(". ->"),
        operators=_words("* / % + - << >> < > <= >= == != & ^ | && || ? : ,"),
        before=_words("+ - ! ~ & *"),
        after=frozenset(),
        opening="([",
    ),
    "excel": _Grammar(
        token=re.compile(rf"\s+|{_LIKE_NUMBER}|{_EXCEL_OPERAND}|<=|>=|<>|."),
        operand=re.compile(_EXCEL_OPERAND),
        joining=_words(":"),
        operators=_words("* / ^ + - & = < > <= >= <> , ;"),
        before=_words("+ - @"),
        after=_words("% #"),
        opening="({",
    ),
}
