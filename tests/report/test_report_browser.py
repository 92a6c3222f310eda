"""The pages in a real browser: no error on its console, nothing fetched, no scrolling sideways on a phone."""

import functools
import http.server
import json
import re
import shutil
import subprocess
import threading

import pytest

from qhybrid.report.comparison import write_comparison
from qhybrid.report.page import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

# Shows a page in frames of a phone and of a desktop and writes down what it measures there.
MEASURE = """<!doctype html><title>measure</title>
<iframe src="{page}" style="width:390px;height:800px;border:0"></iframe>
<iframe src="{page}" style="width:1280px;height:800px;border:0"></iframe><pre></pre>
<script>window.onload = () => {{
  const found = [...document.querySelectorAll("iframe")].map(frame => {{
    const page = frame.contentDocument, pictures = [...page.images];
    return {{wide: page.documentElement.scrollWidth - page.documentElement.clientWidth, pictures: pictures.length,
      drawn: pictures.filter(p => p.naturalWidth > 0).length,
      described: pictures.filter(p => p.alt.trim().length > 10).length, h1: page.querySelectorAll("h1").length,
      fetched: frame.contentWindow.performance.getEntriesByType("resource").map(entry => entry.name)}};
  }});
  document.querySelector("pre").textContent = JSON.stringify(found);
}}</script>"""


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        self.server.asked.append(self.path)


@pytest.fixture
def visit(tmp_path):
    """Open a page in the browser; returns what was measured, the console, and the paths that were asked for."""
    folder = tmp_path / "site"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def run(html):
        (folder / "page.html").write_text(html)
        (folder / "measure.html").write_text(MEASURE.format(page="page.html"))
        server.asked.clear()
        flags = "--headless --no-sandbox --disable-gpu --enable-logging=stderr --dump-dom --virtual-time-budget=20000"
        home = f"--user-data-dir={tmp_path / 'profile'}"
        # Every other machine's name is unknown: nothing leaves this one.
        rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        address = f"http://127.0.0.1:{server.server_port}/measure.html"
        answer = subprocess.run(
            [CHROMIUM, *flags.split(), home, rules, address], capture_output=True, text=True, timeout=120
        )
        found = re.search(r"<pre>(\[.*?\])</pre>", answer.stdout)
        assert found, answer.stdout[-500:] + answer.stderr[-2000:]
        console = [line for line in answer.stderr.splitlines() if "CONSOLE" in line]
        return json.loads(found[1]), console, set(server.asked) - {"/favicon.ico"}

    yield run
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def pages(judged, tmp_path_factory):
    """A report with its animation, and a comparison."""
    folder = tmp_path_factory.mktemp("pages")
    other = folder / "a_run_with_a_rather_long_name_that_must_not_widen_the_page"
    shutil.copytree(judged.path, other)
    return {
        "report": write_report(judged).read_text(),
        "comparison": write_comparison([judged.path, other], folder / "page.html").read_text(),
    }


@pytest.mark.parametrize("name", ["report", "comparison"])
def test_pages_open_whole_and_alone(pages, visit, name):
    measured, console, asked = visit(pages[name])
    assert console == []
    assert asked == {"/measure.html", "/page.html"}
    assert [page["wide"] for page in measured] == [0, 0]
    for page in measured:
        assert page["h1"] == 1
        assert [name for name in page["fetched"] if not name.startswith("data:")] == []
        assert page["pictures"] >= 2
        assert page["drawn"] == page["described"] == page["pictures"]


def test_faults_of_a_page_are_seen(visit):
    html = '<!doctype html><img src="https://example.org/x.png"><img src="y.png"><div style="width:600px">wide</div>'
    measured, console, asked = visit(html + "<script>missing()</script>")
    assert any("missing is not defined" in line for line in console)
    assert "https://example.org/x.png" in measured[0]["fetched"]
    assert "/y.png" in asked
    assert measured[0]["wide"] > 200
    assert measured[0]["drawn"] == measured[0]["described"] == 0


def test_the_animation_ends_with_the_images_of_the_run(judged):
    import base64
    import io

    import numpy as np
    from PIL import Image

    html = write_report(judged).read_text()
    found = re.search(r'<source media="[^"]*" srcset="data:image/png;base64,([^"]*)"><img src="[^,]*,([^"]*)"', html)
    still, film = (Image.open(io.BytesIO(base64.b64decode(text))) for text in found.groups())
    assert film.is_animated
    # Of two steps, and the picture that stands for them where nothing moves.
    assert film.n_frames == 3
    frames = []
    for place in range(film.n_frames):
        film.seek(place)
        frames.append(np.asarray(film.convert("RGB")))
    assert np.array_equal(frames[0], np.asarray(still.convert("RGB")))
    assert np.array_equal(frames[2], frames[0])
    assert not np.array_equal(frames[1], frames[0])
    with np.load(judged.images_file) as file:
        # Cells of 64 pixels in gaps of 4: the middle of each of the 8x8 pixels of image 3.
        assert np.array_equal(frames[2][8:68:8, 4 + 3 * 68 + 4 : 4 + 3 * 68 + 64 : 8, 0], file["images"][3])
