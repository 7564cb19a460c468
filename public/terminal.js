// The element <berth-terminal>: a terminal or console over our own WebSocket frames. Loaded on terminal pages only.
//
// Binary frames carry one byte for the stream (0 in, 1 out, 2 err) and then bytes; text frames carry JSON control:
// resize, ack, eof, signal, ping, exit. The session lives on the server: after a lost connection this attaches again and
// the server replays the scrollback.
//
// Attributes: data-socket, data-xterm, data-fit, data-css (addresses), data-label.
// Events that it sends: terminal-state with detail {state, code, reason}; terminal-paste with detail {text, lines}.

const ACK_EVERY = 64 * 1024;
const LARGEST_DELAY = 10_000;
const MOST_TRIES = 8;
/** Line ends are control characters too. */
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;
const encoder = new TextEncoder();

let libraries;

/** Styles that xterm adds need the page's nonce, and style attributes are blocked by it: both are set by other means. */
function obeyPolicy() {
  const nonce = document.querySelector("script[nonce]")?.nonce;
  const createElement = Document.prototype.createElement;
  Document.prototype.createElement = function (name, options) {
    const element = createElement.call(this, name, options);
    if (nonce && String(name).toLowerCase() === "style") element.nonce = nonce;
    return element;
  };
  const setAttribute = Element.prototype.setAttribute;
  Element.prototype.setAttribute = function (name, value) {
    if (name === "style" && this.style) this.style.cssText = value;
    else setAttribute.call(this, name, value);
  };
}

function load(element) {
  libraries ??= (async () => {
    obeyPolicy();
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = element.dataset.css;
    const styled = new Promise((done) => {
      link.onload = done;
      link.onerror = done;
    });
    document.head.append(link);
    const [xterm, fit] = await Promise.all([import(element.dataset.xterm), import(element.dataset.fit), styled]);
    return { Terminal: xterm.Terminal, FitAddon: fit.FitAddon };
  })();
  return libraries;
}

/** The page's tokens as a palette; the sixteen colours keep 4.5:1 by xterm's own rule. */
function theme() {
  const tokens = getComputedStyle(document.documentElement);
  const token = (name) => tokens.getPropertyValue(name).trim();
  return {
    background: token("--sunken"),
    foreground: token("--ink"),
    cursor: token("--accent"),
    cursorAccent: token("--sunken"),
    selectionBackground: token("--selected"),
  };
}

class BerthTerminal extends HTMLElement {
  #terminal;
  #fit;
  #socket;
  #sizes;
  #themes;
  #tries = 0;
  #taken = 0;
  #acked = 0;
  #ended = false;
  #timer;
  #isReplaying = false;
  #isStale = false;

  async connectedCallback() {
    const { Terminal, FitAddon } = await load(this);
    if (!this.isConnected || this.#terminal) return;
    this.#terminal = new Terminal({
      allowProposedApi: false,
      convertEol: false,
      cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
      fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono"),
      fontSize: 13,
      // What a container prints may be no valid sequence; that is no error of the page.
      logLevel: "off",
      minimumContrastRatio: 4.5,
      scrollback: 5000,
      screenReaderMode: false,
      // A link is shown with its real target and asks before it opens.
      linkHandler: { activate: (_, address) => this.#follow(address), allowNonHttpProtocols: false },
      theme: theme(),
    });
    this.#fit = new FitAddon();
    this.#terminal.loadAddon(this.#fit);
    this.#terminal.open(this);
    this.#terminal.textarea?.setAttribute("aria-label", this.dataset.label ?? "");
    this.#terminal.onData((text) => this.#type(encoder.encode(text)));
    this.#terminal.onBinary((text) => this.#type(Uint8Array.from(text, (c) => c.charCodeAt(0))));
    this.#terminal.onResize(() => this.#sendSize());
    this.#terminal.attachCustomKeyEventHandler((event) => this.#key(event));
    this.addEventListener("paste", (event) => this.#pasted(event), { capture: true });
    this.#swallowQueries();
    this.#sizes = new ResizeObserver(() => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#fit?.fit(), 100);
    });
    this.#sizes.observe(this);
    this.#themes = matchMedia("(prefers-color-scheme: dark)");
    this.#themes.onchange = () => (this.#terminal.options.theme = theme());
    this.#fit.fit();
    this.#connect();
    this.#terminal.focus();
  }

  disconnectedCallback() {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#sizes?.disconnect();
    if (this.#themes) this.#themes.onchange = null;
    this.#socket?.close();
    this.#terminal?.dispose();
    this.#terminal = undefined;
  }

  /**
   * What a container prints can neither write to the clipboard nor make the terminal type an answer that it chose: colour
   * and setting queries are taken and left unanswered, titles are heard by nobody. Where the cursor is and what kind of
   * terminal this is stay answered, since shells and editors cannot do without.
   */
  #swallowQueries() {
    const { parser } = this.#terminal;
    parser.registerOscHandler(52, () => true);
    // A query has `?` where a colour would stand; several may come in one sequence.
    for (const colours of [4, 5, 10, 11, 12]) parser.registerOscHandler(colours, (text) => text.includes("?"));
    // DECRQSS: settings. DECRQM: modes, of the standard and private ones. Window reports are off in xterm itself.
    parser.registerDcsHandler({ intermediates: "$", final: "q" }, () => true);
    parser.registerCsiHandler({ intermediates: "$", final: "p" }, () => true);
    parser.registerCsiHandler({ prefix: "?", intermediates: "$", final: "p" }, () => true);
  }

  /** Types text that the page asked about first (several lines, or control characters). */
  paste(text) {
    this.#terminal?.paste(text);
    this.#terminal?.focus();
  }

  #connect() {
    if (this.#ended) return;
    this.#say("opening");
    const address = new URL(this.dataset.socket, location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#taken = this.#acked = 0;
    socket.onopen = () => {
      // Answers of the terminal to queries inside the replay must not be typed into the shell.
      this.#isReplaying = this.#isStale = true;
      this.#tries = 0;
      this.#control({ type: "ack", bytes: 0 });
      this.#sendSize();
      this.#say("open");
    };
    socket.onmessage = ({ data }) => (typeof data === "string" ? this.#onControl(data) : this.#onOutput(data));
    socket.onclose = ({ code, reason }) => this.#onClose(code, reason);
  }

  /** The scrollback is replayed on every attach, so what is drawn already goes, but only once the new one comes. */
  #clearOnce() {
    if (this.#isStale) this.#terminal?.reset();
    this.#isStale = false;
  }

  #onOutput(data) {
    this.#clearOnce();
    const bytes = new Uint8Array(data, 1);
    this.#terminal?.write(bytes, () => {
      this.#taken += bytes.length;
      if (this.#taken - this.#acked >= ACK_EVERY) {
        this.#control({ type: "ack", bytes: this.#taken - this.#acked });
        this.#acked = this.#taken;
      }
    });
  }

  #onControl(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    if (message.type === "exit") {
      this.#finish();
      this.#say("ended", message.code, message.reason ?? message.message ?? "");
    }
    if (message.type === "replayed") {
      this.#clearOnce();
      // Everything that was replayed has been parsed once this empty write is.
      this.#terminal?.write("", () => (this.#isReplaying = false));
    }
    if (message.type === "ping") this.#control({ type: "pong" });
  }

  #onClose(code, reason) {
    if (this.#ended || !this.isConnected) return;
    this.#tries += 1;
    // 1008: the sign-in ended or does not permit this; 4xxx: the server says that there is nothing to come back to.
    if (code === 1008 || code >= 4000 || this.#tries > MOST_TRIES) {
      this.#finish();
      this.#say("refused", code, reason);
      return;
    }
    this.#say("lost");
    setTimeout(() => this.#connect(), Math.min(LARGEST_DELAY, 300 * 2 ** this.#tries) * (0.75 + Math.random() / 2));
  }

  /** Nothing is typed any more; what was printed stays, out of full-screen programs and their hold on the mouse. */
  #finish() {
    this.#ended = true;
    if (!this.#terminal) return;
    this.#terminal.options.disableStdin = true;
    this.#terminal.options.cursorBlink = false;
    this.#terminal.write("\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1049l\x1b[?25l");
  }

  #type(bytes) {
    if (this.#isReplaying || this.#socket?.readyState !== WebSocket.OPEN) return;
    const frame = new Uint8Array(bytes.length + 1);
    frame.set(bytes, 1);
    this.#socket.send(frame);
  }

  #control(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #sendSize() {
    if (this.#terminal) this.#control({ type: "resize", cols: this.#terminal.cols, rows: this.#terminal.rows });
  }

  /** Ctrl+F6 leaves; Ctrl+Shift+C copies. Everything else belongs to the shell. */
  #key(event) {
    if (event.ctrlKey && event.key === "F6") {
      if (event.type === "keydown") document.querySelector("h1")?.focus();
      return false;
    }
    if (event.ctrlKey && event.shiftKey && event.code === "KeyC") {
      if (event.type === "keydown" && this.#terminal.hasSelection()) {
        event.preventDefault();
        navigator.clipboard?.writeText(this.#terminal.getSelection());
      }
      return false;
    }
    // Ctrl+Shift+V is the browser's own paste.
    return !(event.ctrlKey && event.shiftKey && event.code === "KeyV");
  }

  /** More than one line, and any control character, is asked about first. */
  #pasted(event) {
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (!CONTROL.test(text)) return;
    const lines = text.split(/\r\n|\r|\n/).length;
    event.preventDefault();
    event.stopPropagation();
    this.dispatchEvent(new CustomEvent("terminal-paste", { bubbles: true, detail: { text, lines } }));
  }

  #follow(address) {
    if (/^https?:\/\//i.test(address) && confirm(address)) open(address, "_blank", "noopener,noreferrer");
  }

  #say(state, code = 0, reason = "") {
    this.dispatchEvent(new CustomEvent("terminal-state", { bubbles: true, detail: { state, code, reason: String(reason) } }));
  }
}

if (!customElements.get("berth-terminal")) customElements.define("berth-terminal", BerthTerminal);
