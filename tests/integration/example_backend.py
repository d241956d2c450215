"""A backend of the example API, by its format alone: python example_backend.py whole|bytes|glued prints its port."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TEXT = ("The ", "capital ", "of France is Paris.")
WHOLE = {"generated_text": "".join(TEXT), "metadata": {"tokens_generated": 8, "generation_time": 0.5}}
PARTS = [json.dumps({"chunk": text, "finished": text is TEXT[-1]}).encode() for text in TEXT]
GLUED = b"".join(PARTS)
STREAMS = {
    "whole": [part + b"\n" for part in PARTS],
    "bytes": [GLUED[at : at + 1] for at in range(len(GLUED))],
    "glued": [GLUED],
}


class Generate(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fine = self.headers["Authorization"] == "Bearer key-of-the-example" and "France" in asked["prompt"]
        whole = [json.dumps(WHOLE if fine else {"error": "bad key"}).encode()]
        self.send_response(200 if fine else 401)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in STREAMS[sys.argv[1]] if fine and self.path == "/generate/stream" else whole:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")


server = ThreadingHTTPServer(("127.0.0.1", 0), Generate)
print(server.server_port, flush=True)
server.serve_forever()
