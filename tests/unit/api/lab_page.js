// Just enough of a browser for the lab's page: elements, forms, timers that fire when told, and a lab that answers.
const byId = {}, requests = [], timers = [];
class Element {
  constructor(tag) { Object.assign(this, { tag, attributes: {}, handlers: {}, children: [], dataset: {}, hidden: false, value: "", own: "" }); }
  set textContent(text) { this.children = []; this.own = String(text); }
  get textContent() { return this.own + this.children.map((child) => child.textContent).join(""); }
  set className(name) { this.attributes.class = name; }
  get lastChild() { return this.children.at(-1); }
  setAttribute(name, value) { this.attributes[name] = String(value); }
  addEventListener(name, handler) { this.handlers[name] = handler; }
  append(...children) { this.children.push(...children.map(node)); }
  prepend(...children) { this.children.unshift(...children.map(node)); }
  replaceChildren(...children) { this.own = ""; this.children = children.map(node); }
  querySelector() { return null; }
  focus() {}
}
const node = (child) => (child instanceof Element ? child : Object.assign(new Element("#text"), { own: String(child) }));
function everyElement(root) { return [root, ...root.children.flatMap(everyElement)]; }
function button(id, text) { return everyElement(byId[id]).find((one) => one.tag === "button" && one.textContent === text); }
const document = { hidden: false, createElement: (tag) => new Element(tag), getElementById: (id) => byId[id] ?? null, addEventListener() {} };
const kept = {};
const sessionStorage = { getItem: (name) => kept[name] ?? null, setItem: (name, value) => { kept[name] = value; }, removeItem: (name) => { delete kept[name]; } };
const crypto = { randomUUID: () => `uuid-${requests.length}` };
const setTimeout = (work, wait) => timers.push({ work, wait });
function fire(longest) { const due = timers.filter((one) => one.wait <= longest); timers.splice(0, timers.length, ...timers.filter((one) => one.wait > longest)); due.forEach((one) => one.work()); }
class AbortController {
  constructor() { this.waiting = []; this.signal = { addEventListener: (_, work) => this.waiting.push(work) }; }
  abort() { this.waiting.forEach((work) => work()); }
}
class FormData { constructor() { this.parts = []; } append(...part) { this.parts.push(part); } }
class TextDecoderStream {}
const answers = {}; // by "METHOD path": [status, JSON]
let chunks = []; // what the log's connection brings, and then ends
async function fetch(path, { method, body, headers }) {
  requests.push({ method, path, body, headers });
  if (path.startsWith("api/v1/events/stream")) {
    const brought = chunks.splice(0);
    const reader = { read: async () => (brought.length ? { value: brought.shift(), done: false } : { done: true }) };
    return { ok: true, body: { pipeThrough: () => ({ getReader: () => reader }) } };
  }
  const [status, json] = answers[`${method} ${path}`] ?? [404, { error: { code: "not_found", message: `nothing at ${method} ${path}` } }];
  return { ok: status < 400, status, json: async () => json, text: async () => String(json) };
}
