"""Widgets in a real browser: their module alone in a bare page (fast), or a whole notebook in JupyterLab (slow).

``mount(module, css, state)`` renders any anywidget module with a stand-in for Jupyter's model; ``host(widget)`` does
the same for a living Python widget and carries its messages both ways. ``lab.open(cells)`` runs a notebook in
JupyterLab. Every page refuses, records and fails on requests that would leave this machine, and on script errors.
Pictures go to ``test-artefacts/``.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence  # noqa: TC003  # fixtures are read with their types
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]
ARTEFACTS = ROOT / "test-artefacts"
FLAGS = [
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--force-color-profile=srgb",
]  # fmt: skip
THEMES = Path(sys.prefix) / "share/jupyter/lab/themes/@jupyterlab"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def artefacts() -> Path:
    """The folder for pictures of what was tested."""
    ARTEFACTS.mkdir(exist_ok=True)
    return ARTEFACTS


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless Chromium: the system's, else Playwright's own, else the tests are skipped.

    One a module, not one a session: Playwright keeps an event loop running in this thread while it lives, and tests
    of other rooms must not find one.
    """
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    with playwright.sync_playwright() as driver:
        yield _launch(driver, playwright.Error)


def _launch(driver: Any, failure: type[Exception]) -> Any:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    # Chromium refuses its sandbox to root, and root is who runs in containers.
    flags = [*FLAGS, "--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else FLAGS
    try:
        return driver.chromium.launch(executable_path=found, headless=True, args=flags)
    except failure as error:
        if found:
            raise
        first = str(error).strip().splitlines()[0]
        pytest.skip(f"no Chromium: install chromium, or run 'playwright install chromium' ({first})")


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """An empty page; the test fails where the page asks for anything beyond this machine or a script breaks."""
    with guarded_page(chromium) as page:
        yield page


@contextlib.contextmanager
def guarded_page(chromium: Any, **options: Any) -> Iterator[Any]:
    context = chromium.new_context(**{"viewport": {"width": 1100, "height": 800}, **options})
    outside: list[str] = []
    broken: list[str] = []

    def guard(route: Any) -> None:
        if urlsplit(route.request.url).hostname in {"127.0.0.1", "localhost", "::1"}:
            route.fallback()
        else:
            outside.append(route.request.url)
            route.abort()

    context.route("**/*", guard)
    page = context.new_page()
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.set_default_timeout(20_000)
    try:
        yield page
    finally:
        context.close()
    assert outside == [], "the page asked for something outside this machine"
    assert broken == [], "a script on the page broke"


# ---- one module in a bare page -----------------------------------------------------------------------------------

BARE = "http://127.0.0.1/bare"  # answered by a route below, never by a server


class Mounted:
    """One rendered widget: what a test may ask of it and do to it."""

    def __init__(self, page: Any, number: int, artefacts: Path) -> None:
        self.page, self.number, self.artefacts = page, number, artefacts
        self.root = page.locator("#cell > div").nth(number)

    def evaluate(self, body: str, argument: Any = None) -> Any:
        """Run a JavaScript function body with ``mount`` (``model``, ``el``, ``cleanup``) and ``argument`` in reach."""
        script = f"async ([number, argument]) => {{ const mount = mounts[number]; {body} }}"
        return self.page.evaluate(script, [self.number, argument])

    def get(self, name: str) -> Any:
        """Return the model's value as the widget sees it."""
        return self.evaluate("return mount.model.get(argument)", name)

    def set(self, name: str, value: Any) -> None:
        """Change a trait as the kernel would."""
        self.evaluate("mount.model.fromKernel(...argument)", [name, packed(value)])

    def receive(self, content: Any, buffers: Sequence[bytes] = ()) -> None:
        """Give the widget a custom message as the kernel would."""
        self.evaluate("mount.model.receive(...argument)", [packed(content), packed(list(buffers))])

    def outbox(self) -> list[dict[str, Any]]:
        """Take what the widget has sent since the last call: ``{"state": …}`` (saved traits) or ``{"content": …}``."""
        return self.evaluate("return mount.model.outbox.splice(0)")

    def cleanup(self) -> None:
        """Run the function that ``render`` returned, as Jupyter does when the output goes."""
        self.evaluate("await mount.cleanup()")

    def screenshot(self, name: str) -> Path:
        """Keep a picture of the whole page as ``test-artefacts/<name>.png``."""
        path = self.artefacts / f"{name}.png"
        self.page.screenshot(path=path, full_page=True)
        return path


@pytest.fixture
def mount(page: Any, artefacts: Path) -> Callable[..., Mounted]:
    """Return ``mount(module, css="", state={}, theme="light")``, which renders a module in a bare page.

    `module` and `css` are paths, text, or lists of these that are joined; bytes in `state` arrive as a DataView.
    """

    def make(module: Any, css: Any = "", state: dict[str, Any] | None = None, *, theme: str | None = None) -> Mounted:
        if page.url != BARE:
            page.route(BARE, lambda route: route.fulfill(content_type="text/html", body=_bare_html()))
            page.goto(BARE)
            page.add_script_tag(path=Path(__file__).with_name("bare_page.js"))
            set_theme(page, theme or "light")
        elif theme:
            set_theme(page, theme)
        script = "([source, css, state]) => mount(source, css, state)"
        number = page.evaluate(script, [_text(module), _text(css), packed(state or {})])
        return Mounted(page, number, artefacts)

    return make


def set_theme(page: Any, theme: str) -> None:
    """Give a bare page the variables of JupyterLab's own ``"light"`` or ``"dark"`` theme."""
    script = """([variables, light]) => {
      document.getElementById("theme").textContent = `:root{${variables}}`;
      document.body.dataset.jpThemeLight = String(light);
      document.body.dataset.jpThemeName = light ? "JupyterLab Light" : "JupyterLab Dark";
    }"""
    page.evaluate(script, [_theme_variables(theme), theme == "light"])


def _bare_html() -> str:
    return """<!doctype html><html lang="en"><meta charset="utf-8"><title>bare</title><style id="theme"></style>
    <style>body { margin: 12px; background: var(--jp-layout-color0, #fff); color: var(--jp-ui-font-color1, #000);
    font: 13px/1.5 system-ui, sans-serif; }</style><body><div id="cell"></div></body></html>"""


def _theme_variables(theme: str) -> str:
    css = (THEMES / f"theme-{theme}-extension" / "index.css").read_text(encoding="utf-8")
    return ";".join(re.findall(r"(?<![\w(-])--(?:jp|md)-[\w-]+:[^;{}]+", css))


def _text(source: Any) -> str:
    if isinstance(source, list | tuple):
        return "\n".join(map(_text, source))
    return source.read_text(encoding="utf-8") if isinstance(source, Path) else str(source)


def packed(value: Any) -> Any:
    """Make a value fit for the page: bytes become what the harness unpacks to a DataView."""
    if isinstance(value, bytes | bytearray | memoryview):
        return {"__base64__": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, dict):
        return {key: packed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [packed(item) for item in value]
    return value


# ---- a living Python widget in a bare page -----------------------------------------------------------------------


class Hosted(Mounted):
    """A rendered widget with its Python side: :meth:`settle` carries messages both ways until both are quiet."""

    def __init__(self, mounted: Mounted, widget: Any) -> None:
        super().__init__(mounted.page, mounted.number, mounted.artefacts)
        self.widget = widget
        self._to_view: list[Callable[[], None]] = []
        self._from_view = False
        widget.send = lambda content, buffers=None: self._to_view.append(
            lambda: self.receive(content, [bytes(b) for b in buffers or ()])
        )
        widget.observe(self._changed)

    def settle(self, milliseconds: int = 60) -> None:
        """Carry messages until the view has sent nothing for `milliseconds` and the kernel has nothing more to say."""
        quiet = 0
        while quiet < milliseconds:
            messages = self.outbox()
            for message in messages:
                self._deliver(message)
            waiting, self._to_view = self._to_view, []
            for push in waiting:
                push()
            quiet = 0 if messages or waiting else quiet + 20
            self.page.wait_for_timeout(20)

    def _deliver(self, message: dict[str, Any]) -> None:
        if "state" in message:
            self._from_view = True
            try:
                self.widget.set_state(message["state"])
            finally:
                self._from_view = False
        else:
            self.widget._handle_custom_msg(message["content"], [])

    def _changed(self, change: Any) -> None:
        name, value = change["name"], change["new"]
        # What the view itself has just set is not echoed, as in Jupyter; what the kernel changes in answer is.
        if name in self.widget.keys and not (self._from_view and self.get(name) == value):
            self._to_view.append(lambda: self.set(name, self.widget.get_state(name)[name]))


@pytest.fixture
def host(mount: Callable[..., Mounted]) -> Callable[..., Hosted]:
    """Return ``host(widget, theme="light")``, which shows a Python widget and carries its messages (no kernel)."""

    def make(widget: Any, *, theme: str | None = None) -> Hosted:
        state = {name: value for name, value in widget.get_state().items() if not name.startswith("_")}
        state = {name: value for name, value in state.items() if name not in {"layout", "tabbable", "tooltip"}}
        hosted = Hosted(mount(str(widget._esm), str(getattr(widget, "_css", "")), state, theme=theme), widget)
        hosted.settle()
        return hosted

    return make


# ---- a notebook in JupyterLab ------------------------------------------------------------------------------------

LAB_CONFIG = """
c = get_config()  # noqa: F821
c.ServerApp.ip = "127.0.0.1"
c.ServerApp.open_browser = False
c.ServerApp.port_retries = 0
c.ServerApp.allow_root = True
c.ServerApp.disable_check_xsrf = True
c.IdentityProvider.token = ""
c.LabApp.expose_app_in_browser = True
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.KernelManager.transport = "ipc"
c.LabApp.user_settings_dir = SETTINGS
c.LabApp.workspaces_dir = WORKSPACES
"""
STATE = """() => {
  const panel = window.jupyterapp?.shell?.currentWidget, kernel = panel?.sessionContext?.session?.kernel;
  if (!panel?.content?.widgets || !kernel) return "opening";
  const waiting = panel.content.widgets.filter(cell => cell.model.type === "code"
    && cell.model.sharedModel.source.trim() && cell.model.executionCount === null);
  return `${kernel.status} ${waiting.length}`;
}"""
ERRORS = """() => window.jupyterapp.shell.currentWidget.content.widgets
  .flatMap(cell => cell.model.type === "code" ? cell.model.outputs.toJSON() : [])
  .filter(output => output.output_type === "error").map(output => `${output.ename}: ${output.evalue}`)"""


class LabPage:
    """A notebook open in JupyterLab, in single-document mode."""

    def __init__(self, page: Any, artefacts: Path) -> None:
        self.page, self.artefacts = page, artefacts
        self.outputs = page.locator(".jp-OutputArea-output")

    def run_all(self, timeout: float = 180) -> None:
        """Run every cell, wait until the kernel is idle again, and fail on a cell's error."""
        self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
        # A cell that fails leaves those below it waiting for ever.
        self.wait(lambda state: state == "idle 0" or bool(self.page.evaluate(ERRORS)), timeout)
        assert self.page.evaluate(ERRORS) == [], "a cell of the notebook failed"

    def restart_and_run_all(self, timeout: float = 180) -> None:
        """Give the notebook a fresh kernel and run it again."""
        self.page.evaluate("""async () => {
          const panel = window.jupyterapp.shell.currentWidget;
          await panel.sessionContext.session.kernel.restart();
          for (const cell of panel.content.widgets) if (cell.model.type === "code") cell.model.clearExecution();
        }""")
        self.wait(lambda state: state.startswith("idle"), timeout)
        self.run_all(timeout)

    def wait(self, done: Callable[[str], bool], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not done(state := self.page.evaluate(STATE)):
            assert time.monotonic() < deadline, f"JupyterLab is still {state!r} after {timeout} s"
            self.page.wait_for_timeout(150)

    def theme(self, name: str) -> None:
        """Switch JupyterLab to ``"light"`` or ``"dark"``."""
        script = "name => window.jupyterapp.commands.execute('apputils:change-theme', { theme: name })"
        self.page.evaluate(script, f"JupyterLab {name.capitalize()}")
        self.page.locator(f"body[data-jp-theme-light='{str(name == 'light').lower()}']").wait_for(state="attached")
        self.page.wait_for_timeout(300)

    def screenshot(self, name: str) -> Path:
        path = self.artefacts / f"{name}.png"
        self.page.screenshot(path=path)
        return path


class Lab:
    """A JupyterLab server for the tests; notebooks lie in `folder`."""

    def __init__(self, url: str, folder: Path, artefacts: Path) -> None:
        self.url, self.folder, self.artefacts = url, folder, artefacts

    @contextlib.contextmanager
    def open(self, chromium: Any, notebook: Path | Sequence[str], **options: Any) -> Iterator[LabPage]:
        """Open a notebook, given as a file (which is copied) or as the source of its code cells."""
        path = self._place(notebook)
        options = {"viewport": {"width": 1280, "height": 1000}, **options}
        with guarded_page(chromium, **options) as page:
            page.set_default_timeout(60_000)
            page.goto(f"{self.url}/doc/tree/{path.name}")
            lab_page = LabPage(page, self.artefacts)
            lab_page.wait(lambda state: state.startswith("idle"), 120)
            yield lab_page

    def _place(self, notebook: Path | Sequence[str]) -> Path:
        import nbformat

        if isinstance(notebook, Path):
            return Path(shutil.copy(notebook, self.folder))
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in notebook])
        book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        path = self.folder / f"notebook-{len(list(self.folder.glob('*.ipynb')))}.ipynb"
        nbformat.write(book, path)
        return path


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, artefacts: Path) -> Iterator[Lab]:
    """A JupyterLab of this very Python on a free port of this machine, with no user's settings; gone afterwards."""
    pytest.importorskip("jupyterlab", reason="jupyterlab is not installed")
    home = tmp_path_factory.mktemp("lab")
    folder = home / "notebooks"
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (home / "lab.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", f"--ServerApp.port={port}", f"--ServerApp.root_dir={folder}"],
            env=_lab_environment(home), cwd=folder, stdout=log, stderr=log,
        )  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_for(url, server, home / "lab.log")
            yield Lab(url, folder, artefacts)
        finally:
            with contextlib.suppress(OSError):  # POST /api/shutdown also ends the kernels; a signal would not
                urllib.request.urlopen(urllib.request.Request(f"{url}/api/shutdown", method="POST"), timeout=10).close()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _lab_environment(home: Path) -> dict[str, str]:
    """A configuration of its own, and the kernel of this environment ahead of any that a user installed."""
    (home / "config").mkdir()
    folders = f"SETTINGS, WORKSPACES = {str(home / 'settings')!r}, {str(home / 'workspaces')!r}\n"
    (home / "config" / "jupyter_server_config.py").write_text(folders + LAB_CONFIG, encoding="utf-8")
    silent = home / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    silent.parent.mkdir(parents=True)
    silent.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}), encoding="utf-8")
    own = {
        "JUPYTER_CONFIG_DIR": home / "config", "JUPYTER_DATA_DIR": home / "data", "JUPYTER_RUNTIME_DIR": home / "runtime",
        "IPYTHONDIR": home / "ipython", "JUPYTER_PREFER_ENV_PATH": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }  # fmt: skip
    return os.environ | {name: str(value) for name, value in own.items()}


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert server.poll() is None, f"JupyterLab ended at once:\n{log.read_text()[-2000:]}"
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{url}/api", timeout=5).close()
            return
        time.sleep(0.2)
    pytest.fail(f"JupyterLab did not answer within 90 s:\n{log.read_text()[-2000:]}")
