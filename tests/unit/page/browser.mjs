// Fakes for the parts of a browser that modules of the page need, for tests in node.

import { setImmediate } from "node:timers/promises";

/** Wait until `condition` holds, for turns of the event loop and never for a time. */
export async function until(condition) {
  for (let turn = 0; !condition(); turn += 1) {
    if (turn === 1000) throw new Error(`This never came true: ${condition}`);
    await setImmediate();
  }
}

/** Run everything that only waits for its turn. */
export async function settle() {
  for (let turn = 0; turn < 20; turn += 1) await setImmediate();
}

/** A response as `fetch` returns it. */
export function answer(body, { status = 200, headers = {} } = {}) {
  return {
    status, ok: status >= 200 && status < 300, headers: new Headers(headers),
    json: async () => structuredClone(body),
    blob: async () => body,
  };
}

export function problem(status, code, headers = {}) {
  return answer({ code, detail: `It is ${code}.` }, { status, headers });
}

/**
 * Respond to all requests with `handle({method, path, headers, json})`; if it throws, the connection is lost.
 * Returns the list of requests, which grows.
 */
export function serve(handle) {
  const requests = [];
  globalThis.fetch = async (path, { method = "GET", headers = {}, body = null, signal = null }) => {
    signal?.throwIfAborted();
    const request = { method, path, headers, body, json: typeof body === "string" ? JSON.parse(body) : null };
    requests.push(request);
    return handle(request);
  };
  return requests;
}

/** An event stream that the test feeds. */
class FakeEventSource extends EventTarget {
  static CLOSED = 2;
  static opened = [];

  constructor(url) {
    super();
    this.url = url;
    this.readyState = 1;
    FakeEventSource.opened.push(this);
  }

  tell(kind, data) {
    this.dispatchEvent(new MessageEvent(kind, { data: JSON.stringify(data) }));
  }

  /** Break the stream; the browser does not reopen a `refused` one. */
  fail({ refused = false } = {}) {
    if (refused) this.readyState = FakeEventSource.CLOSED;
    this.dispatchEvent(new Event("error"));
  }

  close() {
    this.readyState = FakeEventSource.CLOSED;
  }
}

/** A request to which the test may respond. */
class FakeRequest {
  static sent = [];

  constructor() {
    this.upload = {};
    this.headers = {};
    this.status = 0;
  }

  open(method, url) {
    Object.assign(this, { method, url });
  }

  setRequestHeader(name, value) {
    this.headers[name] = value;
  }

  send(body) {
    this.body = body;
    FakeRequest.sent.push(this);
    FakeRequest.onSend?.(this);
  }

  answer(status, response = null) {
    Object.assign(this, { status, response });
    queueMicrotask(() => this.onload());
  }

  lose() {
    queueMicrotask(() => this.onerror());
  }

  abort() {
    this.aborted = true;
    this.onabort();
  }
}

/** Set up a visible page at http://fathom.test/. */
export function openPage() {
  const document = Object.assign(new EventTarget(), { hidden: false, documentElement: {} });
  const window = Object.assign(new EventTarget(), { EventSource: FakeEventSource });
  const location = new URL("http://fathom.test/");
  FakeEventSource.opened.length = 0;
  FakeRequest.sent.length = 0;
  FakeRequest.onSend = undefined;
  Object.assign(globalThis, { document, window, location, EventSource: FakeEventSource, XMLHttpRequest: FakeRequest });
  return {
    streams: FakeEventSource.opened,
    sent: FakeRequest.sent,
    /** Respond to every uploaded file. */
    onSend: (handle) => { FakeRequest.onSend = handle; },
    online: () => window.dispatchEvent(new Event("online")),
    look: (seen) => {
      document.hidden = !seen;
      document.dispatchEvent(new Event("visibilitychange"));
    },
  };
}

/** A job as the API describes it. */
export function makeJob({ id = "j", state = "processing", total = 3, succeeded = 0, failed = 0, ...others } = {}) {
  return {
    id, state, title: "", created_at: "2026-05-04T10:20:30Z", error: null, progress: 0, links: {},
    options: { outputs: ["heatmap", "thumbnail"], colormap: "inferno", invert: false, normalize: "image" },
    counts: { total, succeeded, failed, pending: total - succeeded - failed }, ...others,
  };
}

export function makeImage(index, state = "queued") {
  return { index, name: `${index}.jpg`, state, error: null, outputs: {} };
}
