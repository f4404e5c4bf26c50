"""File types told by magika."""

import json

from magika import Magika

TEXTS = {
    "python": b"import os\n\ndef main(argv):\n    for name in sorted(os.listdir(argv[1])):\n        print(name)\n" * 4,
    "c": b'#include <stdio.h>\n\nint main(void) {\n  for (int i = 0; i < 3; ++i) printf("%d\\n", i);\n  return 0;\n}\n' * 3,
    "json": b'{"name": "mezzo", "list": [1, 2, 3], "nested": {"a": null, "b": true}}',
    "html": b"<!DOCTYPE html><html><head><title>x</title></head><body><p>text</p></body></html>" * 2,
    "csv": b"id,name,age\n" + b"".join(b"%d,person%d,%d\n" % (i, i, 20 + i) for i in range(40)),
    "sql": b"SELECT a.id, count(*) FROM a JOIN b ON a.id = b.a_id WHERE b.x > 3 GROUP BY a.id ORDER BY 2 DESC;\n" * 2,
}

magika = Magika()
results = {name: magika.identify_bytes(text) for name, text in TEXTS.items()}
print(json.dumps({name: [result.output.label, result.score] for name, result in results.items()}))
