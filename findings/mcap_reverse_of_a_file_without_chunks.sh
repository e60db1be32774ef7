#!/usr/bin/env bash
# mcap 1.6.0: reverse=True changes nothing for a file without chunks, so the last message first is the first one.
#
# Guess before the run: iter_messages(reverse=True) gives the messages of an MCAP file from the last to the first,
# whatever the options of the writer were. next() of it is the newest message.
# Seen: that is so for files with chunks, the default. A file of Writer(use_chunking=False) is read from the first to
# the last message; the option is taken and dropped. Messages written out of order are sorted, so all looks well.
# NonSeekingReader does reverse the same file. Who asks for the newest state of a recording so gets the oldest. Nothing is
# raised.
#
# Output seen, of messages with times 3, 1, 2, 5, 4:
#   with chunks: forward 1 2 3 4 5, reverse 5 4 3 2 1
#   without chunks: forward 1 2 3 4 5, reverse 1 2 3 4 5
#   without chunks, NonSeekingReader: reverse 5 4 3 2 1
#
# Needs Python 3.12 and PyPI. Exits with 0 while the behaviour is as written here, with 1 when it has changed.
set -euo pipefail
python=${PYTHON:-$(compgen -G "$(pyenv root 2>/dev/null)/versions/3.12.*/bin/python" | tail -n 1 || echo python3.12)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet mcap==1.6.0
"$folder/venv/bin/python" -W ignore - <<'PYTHON' | tee "$folder/output"
import io

from mcap.reader import NonSeekingReader, make_reader
from mcap.writer import Writer


def written(**options):
    file = io.BytesIO()
    writer = Writer(file, **options)
    writer.start()
    schema = writer.register_schema(name="count", encoding="jsonschema", data=b"{}")
    channel = writer.register_channel(topic="/joints", message_encoding="json", schema_id=schema)
    for time in (3, 1, 2, 5, 4):
        writer.add_message(channel, log_time=time, data=b"{}", publish_time=time)
    writer.finish()
    return file.getvalue()


def times(reader, **options):
    return " ".join(str(message.log_time) for _, _, message in reader.iter_messages(**options))


for words, data in (("with chunks", written()), ("without chunks", written(use_chunking=False))):
    forward = times(make_reader(io.BytesIO(data)))
    reverse = times(make_reader(io.BytesIO(data)), reverse=True)
    print(f"{words}: forward {forward}, reverse {reverse}")
print("without chunks, NonSeekingReader: reverse", times(NonSeekingReader(io.BytesIO(data)), reverse=True))
PYTHON
diff "$folder/output" - <<'EXPECTED'
with chunks: forward 1 2 3 4 5, reverse 5 4 3 2 1
without chunks: forward 1 2 3 4 5, reverse 1 2 3 4 5
without chunks, NonSeekingReader: reverse 5 4 3 2 1
EXPECTED
