// The lab's API, as this page needs it.

/** An answer that was no success; its message is the lab's own. */
export class Refused extends Error {
  constructor(status, body) {
    const said = body?.error?.message ?? body?.detail?.message ?? body?.detail ?? body?.error ?? `the lab answered ${status}`;
    super(typeof said === "string" ? said : JSON.stringify(said));
    this.status = status;
  }
}

export class Server {
  constructor(fetch) {
    this.fetch = fetch;
    this.key = "";
  }

  async ask(method, path, { json, form, headers = {}, signal } = {}) {
    const more = this.key ? { "X-API-Key": this.key } : {};
    if (json !== undefined) more["Content-Type"] = "application/json";
    if (method === "POST") more["Idempotency-Key"] = crypto.randomUUID();
    const body = json === undefined ? form : JSON.stringify(json);
    const answer = await this.fetch(path, { method, body, signal, headers: { ...more, ...headers } });
    if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => null));
    return answer;
  }

  async get(path) {
    return (await this.ask("GET", path)).json();
  }

  async post(path, json) {
    return (await this.ask("POST", path, { json })).json();
  }

  /** Events from `lastId` on, or from now on; ends when the connection does. */
  async *events(lastId, signal) {
    const headers = { Accept: "text/event-stream", ...(lastId ? { "Last-Event-ID": lastId } : {}) };
    const answer = await this.ask("GET", "api/v1/events/stream?from_now=true", { headers, signal });
    yield null; // connected
    let rest = "";
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const event = parsed(block);
        if (event) yield event;
      }
    }
  }
}

/** The event of a block of server-sent events; null for comments and settings. */
export function parsed(block) {
  const lines = block.split("\n").filter((line) => line.startsWith("data:"));
  return lines.length ? JSON.parse(lines.map((line) => line.slice(5)).join("\n")) : null;
}
