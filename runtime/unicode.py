"""Makes runtime/unicode.def: what tokenizers need of Unicode, as the reference tokenizers see it.

usage: unicode.py unicode.json > unicode.def

unicode.json (tests/golden/tokenizers) holds the classes \\p{L}, \\p{N}, \\p{M}, \\s of the reference's
regex engine, newer than Unicode 14, and the combining marks that its normalizer, older than that,
does not know.  Decompositions, combining classes, categories and lower case come from unicodedata
(14.0.0); where the reference is older or newer, the lists below say so.
"""
import json
import sys
import unicodedata

assert unicodedata.unidata_version == "14.0.0", "needs the unicodedata of Unicode 14"
data = json.load(open(sys.argv[1]))
unknown = {int(c, 16) for c in data["nfc_marks_unknown"]}

# Numbers behind Unicode 14 that are no digits; characters that are part of words though no letters,
# marks or digits (circled and squared letters, joiners).
new_numbers = range(0x1D2C0, 0x1D2D4)
word_symbols = [(0x200C, 0x200D), (0x24B6, 0x24E9), (0x1F130, 0x1F149), (0x1F150, 0x1F169),
                (0x1F170, 0x1F189)]
# Decompositions that the reference does not have yet.
new_splits = [(0x32FF, 0x32FF), (0xA7F2, 0xA7F4), (0xAB69, 0xAB69), (0x10781, 0x107BA),
              (0x11938, 0x11938), (0x1F16C, 0x1F16C), (0x1FBF0, 0x1FBF9)]
# Lower case behind Unicode 14: first, last, distance.
new_lower = [(0x1C89, 0x1C89, 1), (0xA7CB, 0xA7CB, -42343), (0xA7CC, 0xA7CC, 1),
             (0xA7CE, 0xA7CE, 1), (0xA7D2, 0xA7D2, 1), (0xA7D4, 0xA7D4, 1), (0xA7DA, 0xA7DA, 1),
             (0xA7DC, 0xA7DC, -42561), (0x10D50, 0x10D65, 32), (0x16EA0, 0x16EB8, 27)]


def inside(c, ranges):
    return any(a <= c <= b for a, b in ranges)


def entries(macro, rows):
    """Rows of hex numbers (or one text at the end), as many on a line as fit."""
    line = ""
    for row in rows:
        entry = f"{macro}({', '.join(v if isinstance(v, str) else f'0x{v:X}' for v in row)})"
        if line and len(line) + len(entry) > 98:
            print(line)
            line = ""
        line += (" " if line else "") + entry
    print(line)


def ranges_of(points):
    out = []
    for c in points:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def quote(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


print("/* Made by unicode.py; RANGE(class, first, last), MARK(combining class, first, last),")
print(" * SPLIT(code point, first, second or 0), NOT_JOINED(code point), LOWER(code point, lower),")
print(" * COMPAT(code point, text). */")
for name, kind in (("L", 1), ("N", 2), ("M", 4), ("s", 8)):
    entries("RANGE", [(kind, a, b) for a, b in data[name]])

category = [unicodedata.category(chr(c)) for c in range(0x110000)]
numbers = [c for a, b in data["N"] for c in range(a, b + 1)]
digits = [c for c in numbers
          if category[c] == "Nd" or (category[c] == "Cn" and c not in new_numbers)]
entries("RANGE", [(16, a, b) for a, b in ranges_of(digits)])
word = {c for k in "LM" for a, b in data[k] for c in range(a, b + 1)} | set(digits)
word |= {c for c in range(0x110000) if category[c] in ("Nl", "Pc") or inside(c, word_symbols)}
entries("RANGE", [(32, a, b) for a, b in ranges_of(sorted(word))])

marks = []
for c in range(0x110000):
    k = 0 if c in unknown else unicodedata.combining(chr(c))
    if k and marks and marks[-1][0] == k and marks[-1][2] == c - 1:
        marks[-1][2] = c
    elif k:
        marks.append([k, c, c])
entries("MARK", marks)

splits, not_joined, compat = [], [], []
for c in range(0x110000):
    d = unicodedata.decomposition(chr(c))
    if not d or 0xAC00 <= c < 0xD7A4 or inside(c, new_splits):
        continue
    if d[0] == "<":
        compat.append((c, quote(unicodedata.normalize("NFKD", chr(c)))))
        continue
    parts = [int(x, 16) for x in d.split()]
    splits.append((c, parts[0], parts[1] if len(parts) > 1 else 0))
    if len(parts) > 1 and unicodedata.normalize("NFC", "".join(map(chr, parts))) != chr(c):
        not_joined.append((c,))
entries("SPLIT", splits)
entries("NOT_JOINED", not_joined)
lower = {c: ord(chr(c).lower()) for c in range(0x110000)
         if chr(c).lower() != chr(c) and len(chr(c).lower()) == 1}
lower[0x130] = 0x69
lower.update({c: c + d for a, b, d in new_lower for c in range(a, b + 1)})
entries("LOWER", sorted(lower.items()))
entries("COMPAT", compat)
