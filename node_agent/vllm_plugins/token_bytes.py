"""How many bytes of text each token of a prompt stands for, and which. Used by `prefix_notes`, in the sender's thread.

Made once from the tokenizer's vocabulary: decoding a prompt anew would cost as much as tokenising it. The tokenizer is
shared with requests and may not be borrowed across threads while they change it, so all that is called here on the
original holds the interpreter's lock throughout; single tokens are decoded by a copy.
"""

import copy
import importlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter
from typing import Any

_SPACE = "\u2581"  # how SentencePiece writes a space


@dataclass(frozen=True, slots=True)
class PromptBytes:
    """A prompt as it reads. `ends`: for each token, how many bytes lead up to its end; ascending."""

    text: bytes
    ends: Sequence[int]


class TokenBytes:
    """The text of tokens, as bytes. `decoder`: asked for what the table does not know (None in it)."""

    def __init__(self, table: Sequence[bytes | None], decoder: Any = None) -> None:
        self._table = list(table)
        self._decoder = decoder
        self._numpy = _numpy()
        whole = self._numpy is not None and None not in self._table
        self._lengths = self._numpy.array([len(piece or b"") for piece in self._table]) if whole else None

    def of(self, token_ids: Sequence[int]) -> PromptBytes:
        if self._lengths is not None and len(token_ids) > 1:
            try:
                text = b"".join(itemgetter(*token_ids)(self._table))
                return PromptBytes(text, self._lengths[self._numpy.frombuffer(array("i", token_ids), "i")].cumsum())
            except IndexError:
                pass  # a token beyond the vocabulary
        pieces = [self._one(token_id) for token_id in token_ids]
        return PromptBytes(b"".join(pieces), list(accumulate(map(len, pieces))))

    def _one(self, token_id: int) -> bytes:
        inside = 0 <= token_id < len(self._table)
        known = self._table[token_id] if inside else None
        if known is not None:
            return known
        text = b"" if self._decoder is None else str(self._decoder.decode([token_id])).encode("utf-8", "replace")
        if inside:
            self._table[token_id] = text
        return text


def _numpy() -> Any:
    """vLLM's environment has it; without it the same takes a few times longer."""
    try:
        return importlib.import_module("numpy")
    except ImportError:
        return None


def read_tokenizer(tokenizer: Any) -> TokenBytes:
    """Raises whatever the tokenizer raises when it is of an unknown kind."""
    vocabulary: Mapping[str, int] = tokenizer.get_vocab()
    size = max(vocabulary.values(), default=-1) + 1
    to_bytes = _reader(vocabulary)
    # A number that no token has stands for nothing.
    table: list[bytes | None] = [None if to_bytes is None else b""] * size
    if to_bytes is not None:
        for text, token_id in vocabulary.items():
            table[token_id] = to_bytes(text)
    for token_id, added in getattr(tokenizer, "added_tokens_decoder", {}).items():
        if 0 <= token_id < size:
            table[token_id] = str(getattr(added, "content", added)).encode("utf-8", "replace")
    return TokenBytes(table, None if to_bytes is not None else copy.deepcopy(tokenizer))


def _reader(vocabulary: Mapping[str, int]) -> Any:
    """How this vocabulary writes bytes; None when it is of neither known kind."""
    if "<0x0A>" in vocabulary or any(text.startswith(_SPACE) for text in vocabulary):
        return _sentence_piece
    letters = _byte_level_letters()
    # Every byte has a letter of its own in a byte-level vocabulary.
    if all(letter in vocabulary for letter in letters):
        return lambda text: bytes(letters[c] for c in text) if all(c in letters for c in text) else text.encode()
    return None


def _sentence_piece(text: str) -> bytes:
    if len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
        return bytes.fromhex(text[3:5])
    return text.replace(_SPACE, " ").encode("utf-8", "replace")


def _byte_level_letters() -> dict[str, int]:
    """The letter that stands for each byte: itself where it can be seen, else one from 256 on."""
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {chr(byte): byte for byte in seen}
    hidden = (byte for byte in range(256) if byte not in set(seen))
    return letters | {chr(256 + index): byte for index, byte in enumerate(hidden)}
