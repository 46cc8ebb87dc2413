"""Makes runtime/unicode.def: what tokenizers need of Unicode, as the reference's regex engine and NFC see it.

usage: unicode.py unicode.json > unicode.def

unicode.json (tests/golden/tokenizers) holds the classes \\p{L}, \\p{N}, \\p{M}, \\s, newer than Unicode 14, and the
combining marks that the reference's older NFC does not know; decompositions, classes and lower case come from
Python's unicodedata (version 14).
"""
import json
import sys
import unicodedata

data = json.load(open(sys.argv[1]))
unknown = {int(c, 16) for c in data["nfc_marks_unknown"]}


def lines(macro, rows):
    for i in range(0, len(rows), 6):
        print(" ".join(f"{macro}({', '.join(f'0x{v:X}' for v in row)})" for row in rows[i:i + 6]))


print("/* Made by unicode.py; RANGE(class, first, last), MARK(combining class, first, last),")
print(" * SPLIT(code point, first, second or 0), NOT_JOINED(code point), LOWER(code point, lower). */")
for name, kind in (("L", 1), ("N", 2), ("M", 4), ("s", 8)):
    lines("RANGE", [(kind, a, b) for a, b in data[name]])

marks = []
for c in range(0x110000):
    k = 0 if c in unknown else unicodedata.combining(chr(c))
    if k and marks and marks[-1][0] == k and marks[-1][2] == c - 1:
        marks[-1][2] = c
    elif k:
        marks.append([k, c, c])
lines("MARK", marks)

splits, not_joined = [], []
for c in range(0x110000):
    d = unicodedata.decomposition(chr(c))
    if not d or d[0] == "<" or 0xAC00 <= c < 0xD7A4:
        continue
    parts = [int(x, 16) for x in d.split()]
    splits.append((c, parts[0], parts[1] if len(parts) > 1 else 0))
    whole = "".join(map(chr, parts))
    if len(parts) > 1 and (unicodedata.normalize("NFC", whole) != chr(c) or c == 0x11938):
        not_joined.append((c,))
lines("SPLIT", splits)
lines("NOT_JOINED", not_joined)
lines("LOWER", [(c, ord(chr(c).lower())) for c in range(0x110000)
                if chr(c).lower() != chr(c) and len(chr(c).lower()) == 1])
