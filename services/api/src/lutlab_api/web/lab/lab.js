// The page: boards, a design of one's own, its words and pins, the queue, the log.
// What the lab says is only ever put in as text.

import { address, dump, number, words, WORDS_MAX } from "./words.js";
import { Refused, Server } from "./server.js";

const STAGES = ["queued", "elaborate", "synthesize", "place-and-route", "pack", "load", "runs"];
const OVER = ["complete", "failed", "cancelled"];
const LOG_LINES_MAX = 200, LOG_FIELDS_MAX = 3;
const REFRESH_MS = 150; // events come in bursts; the lists are asked for once behind each
const PINS_MS = 400, PRESS_MS = 200, READER_MS = 3000;
const AGAIN_MS = [500, 1000, 2000, 5000];
const KEPT = "lutlab-key"; // in this tab only, until it is closed

const server = new Server((...asked) => fetch(...asked));
const by = (id) => document.getElementById(id);
const now = { owner: null, boards: [], chosen: null, job: null, refreshing: null, connection: new AbortController() };

/** An element with text, attributes, handlers and children. */
function element(tag, { text, on = {}, ...attributes } = {}, ...children) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(name, value);
  for (const [name, handler] of Object.entries(on)) made.addEventListener(name, handler);
  made.append(...children);
  return made;
}

/** Do something that may be refused, and say so at the top of the page. */
async function attempt(work) {
  try {
    const result = await work();
    problem(null);
    return result;
  } catch (error) {
    problem(error instanceof TypeError ? "the lab cannot be reached" : error.message);
    if (error instanceof Refused && error.status === 401) by("key").focus();
    return null;
  }
}

function problem(text) {
  by("problem").textContent = text ?? "";
  by("problem").hidden = text === null;
}

const pause = (wait) => new Promise((done) => setTimeout(done, wait));
const clock = (moment) => new Date(moment).toLocaleTimeString([], { hour12: false });

// -- boards and queue

const LOOKS = { idle: "good", reserved: "good", error: "bad" };

function board(one) {
  const chip = element("span", { class: `chip ${one.online ? LOOKS[one.state] ?? "busy" : "bad"}`, text: one.online ? one.state : "offline" });
  const card = element("div", { class: one.fpga_id === now.chosen ? "card chosen" : "card" },
    element("header", {}, element("strong", { text: `board ${one.fpga_id}` }), chip),
    element("p", { class: "quiet", text: [one.profile, ...one.labels].join(" · ") }));
  if (one.error) card.append(element("p", { class: "bad", text: one.error }));
  if (one.session) {
    card.append(element("p", { text: `${one.session.owner} until ${clock(one.session.expires_at)}` }));
    if (mine(one)) {
      card.append(element("footer", {},
        element("button", { text: "words", on: { click: () => choose(one.fpga_id) } }),
        element("button", { text: "give back", on: { click: () => giveBack(one) } })));
    }
  }
  return card;
}

const mine = (one) => one.session !== null && one.session.owner === now.owner;

function giveBack(one) {
  return attempt(() => server.ask("DELETE", `api/v1/sessions/${one.session.session_id}`));
}

function choose(fpgaId) {
  now.chosen = fpgaId;
  by("words-board").textContent = fpgaId === null ? "a board" : `board ${fpgaId}`;
  showBoards();
}

function showBoards() {
  by("boards").replaceChildren(...now.boards.map(board));
  by("boards-count").textContent = `${now.boards.filter((one) => one.online).length} of ${now.boards.length} online`;
}

function showQueue({ total, queue }) {
  by("queue-count").textContent = total ? `${total} waiting` : "nobody waits";
  by("queue").replaceChildren(...queue.map((one) => element("li", { text: `${one.place}. ${one.owner}: ${one.build_stage ?? one.status}, since ${clock(one.created_at)}` })));
}

/** Ask for all that is shown; soon, and once however many events there were. */
function refreshSoon() {
  now.refreshing ??= setTimeout(refresh, REFRESH_MS);
}

async function refresh() {
  try {
    const asked = ["api/v1/boards?per_page=100", ...(server.key ? ["api/v1/queue"] : [])];
    const [boards, queue] = await Promise.all(asked.map((path) => server.get(path)));
    now.boards = boards.boards;
    const left = now.boards.find((one) => one.fpga_id === now.chosen);
    if (now.chosen !== null && (left === undefined || !mine(left))) now.chosen = null;
    choose(now.chosen ?? now.boards.find(mine)?.fpga_id ?? null);
    if (queue) showQueue(queue);
    else state("up", "good");
    if (now.job !== null && !OVER.includes(now.job.status)) await look(now.job.job_id);
  } catch (error) {
    state(error instanceof TypeError ? "not reached" : error.message, "bad");
  } finally {
    now.refreshing = null;
  }
}

// -- a design

async function submit(file) {
  const form = new FormData();
  form.append("file", file);
  const job = await attempt(async () => (await server.ask("POST", "api/v1/jobs", { form })).json());
  if (job !== null) await attempt(() => look(job.job_id));
}

async function look(jobId) {
  now.job = await server.get(`api/v1/jobs/${jobId}`);
  by("job").replaceChildren(...jobParts(now.job));
  if (now.job.status === "complete" && now.job.fpga_id !== null) choose(now.job.fpga_id);
}

/** How far a job is, as an index of STAGES. */
function stageOf(job) {
  if (job.status === "complete") return STAGES.length - 1;
  if (job.bitstream) return STAGES.indexOf("load");
  return Math.max(0, STAGES.indexOf(job.build_stage));
}

function jobParts(job) {
  const at = stageOf(job);
  const lookOf = (index) => {
    if (index < at || job.status === "complete") return "done";
    if (index > at) return null;
    return OVER.includes(job.status) ? "failed" : "now";
  };
  const parts = [
    element("p", { text: `${job.filename ?? "design"}: ${job.status}${job.fpga_id === null ? "" : ` on board ${job.fpga_id}`}${job.cached ? ", built before" : ""}` }),
    element("ol", { class: "steps" }, ...STAGES.map((text, index) => element("li", { text, class: lookOf(index) }))),
  ];
  if (job.error) parts.push(element("pre", { class: "bad", text: typeof job.error === "string" ? job.error : job.error.message ?? JSON.stringify(job.error) }));
  if (job.report?.util) parts.push(usage(job.report));
  const actions = element("p", {}, element("button", { text: "show the build's log", on: { click: () => showLog(job.job_id) } }), " ");
  if (!OVER.includes(job.status)) actions.append(element("button", { text: "cancel", on: { click: () => attempt(() => server.ask("DELETE", `api/v1/jobs/${job.job_id}`)) } }));
  parts.push(actions);
  return parts;
}

function usage(report) {
  const rows = Object.entries(report.util).map(([name, { used, available }]) => [name, `${used} of ${available}`]);
  rows.push(["clock", `${report.fmax_mhz} MHz at most, ${report.target_mhz} wanted: ${report.timing_met ? "met" : "missed"}`]);
  return element("table", {}, ...rows.map((row) => element("tr", {}, ...row.map((text) => element("td", { text })))));
}

async function showLog(jobId) {
  const text = await attempt(async () => (await server.ask("GET", `api/v1/jobs/${jobId}/log`)).text());
  if (text === null) return;
  by("job").querySelector(".build-log")?.remove();
  const shown = element("pre", { class: "build-log", text });
  by("job").append(shown);
  shown.scrollTop = shown.scrollHeight;
}

// -- words and pins

async function run(operation) {
  if (now.chosen === null) throw new Error("no board is yours; send a design first");
  const { job_id: jobId } = await server.post(`api/v1/boards/${now.chosen}/run`, operation);
  const result = await server.get(`api/v1/jobs/${jobId}/result`);
  if (!result.ok) throw new Error(`the design answered with ${result.ops?.find((one) => !one.ok)?.error ?? result.error ?? "an error"}`);
  return result.data;
}

function readWords() {
  return attempt(async () => {
    const first = address(by("address").value);
    const count = number(by("count").value, "the count", WORDS_MAX);
    by("words").textContent = dump(first, await run({ op: 2, address: first, count }));
  });
}

function writeWords() {
  return attempt(async () => {
    const first = address(by("address").value);
    const data = words(by("data").value);
    await run({ op: 1, address: first, data });
    by("words").textContent = `wrote ${data.length} ${data.length === 1 ? "word" : "words"}:\n${dump(first, data)}`;
  });
}

const PANEL = /^(led|button|switch)\d+$/;

/** LEDs, then buttons, then switches, each by number. */
function panelOf(pins) {
  const kinds = ["led", "button", "switch"];
  const place = ({ name }) => 1000 * kinds.findIndex((kind) => name.startsWith(kind)) + Number(name.match(/\d+$/)[0]);
  return pins.filter((pin) => PANEL.test(pin.name)).sort((a, b) => place(a) - place(b));
}

async function showPins() {
  const board = now.chosen;
  let pins = [];
  if (board !== null && !document.hidden) {
    pins = await server.get(`fpga/${board}/pins`).catch(() => []); // a board with hardware has its LEDs elsewhere
  }
  if (board !== now.chosen) return;
  const shown = panelOf(pins);
  const state = JSON.stringify([board, shown]);
  if (by("pins").dataset.state === state) return; // what is pressed just now stays
  by("pins").dataset.state = state;
  by("pins").replaceChildren(...shown.map((pin) => (pin.way === "out" ? led(pin) : lever(board, pin))));
}

function led(pin) {
  return element("span", { class: pin.level ? "led on" : "led", title: `${pin.name}, pin ${pin.pin}` }, element("i"), pin.name);
}

/** A switch stays as it is set; a button is let go again. */
function lever(board, pin) {
  const set = (level) => server.ask("PUT", `fpga/${board}/pins`, { json: { pins: { [pin.name]: level } } });
  const click = () => attempt(async () => {
    await set(1 - pin.level);
    if (pin.name.startsWith("button") && !pin.level) {
      await pause(PRESS_MS);
      await set(0);
    }
    await showPins();
  });
  return element("button", { text: pin.name, "aria-pressed": String(Boolean(pin.level)), title: `pin ${pin.pin}`, on: { click } });
}

async function watchPins() {
  for (;;) {
    await showPins();
    await pause(PINS_MS);
  }
}

// -- the log

const UUID = /([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
const short = (text) => text.replace(UUID, "$1");

function logLine(event) {
  const about = Object.entries(event.data).filter(([, value]) => ["string", "number"].includes(typeof value)).slice(0, LOG_FIELDS_MAX);
  const rest = about.map(([name, value]) => `${name}=${short(String(value)).slice(0, 40)}`).join(" ");
  return element("li", {}, element("span", { class: "quiet", text: clock(event.at) }), element("span", { class: "quiet", text: event.position }),
    element("span", { text: `${event.type} ${short(event.stream)} ` }, element("span", { class: "quiet", text: rest })));
}

/** Follow the log for ever. It is told to those with a key only; the others ask for boards and queue now and then. */
async function follow() {
  let lastId = null, failures = 0;
  for (;;) {
    now.connection = new AbortController();
    let wait = READER_MS;
    if (server.key) {
      await followOnce(() => lastId, (id) => { lastId = id; failures = 0; });
      wait = AGAIN_MS[Math.min(failures++, AGAIN_MS.length - 1)];
    } else {
      await refresh();
    }
    await Promise.race([pause(wait), new Promise((done) => now.connection.signal.addEventListener("abort", done))]);
  }
}

async function followOnce(last, arrived) {
  try {
    for await (const event of server.events(last(), now.connection.signal)) {
      state("live", "good");
      refreshSoon();
      if (event === null) continue;
      arrived(String(event.position));
      by("log").prepend(logLine(event));
      while (by("log").children.length > LOG_LINES_MAX) by("log").lastChild.remove();
    }
  } catch (error) {
    if (error instanceof Refused) problem(error.message);
  }
  state("connecting again", "busy");
}

function state(text, look) {
  by("line").textContent = text;
  by("line").className = `chip ${look}`;
}

// -- who it is

async function useKey(key) {
  server.key = key.trim();
  const found = await attempt(() => server.get("api/v1/keys/me"));
  now.owner = found?.owner ?? null;
  by("who").textContent = found ? `${found.owner}, ${found.role}` : "not signed in";
  if (found) sessionStorage.setItem(KEPT, server.key);
  else sessionStorage.removeItem(KEPT);
  now.connection.abort(); // and begin again, as whoever it is now
}

function submitted(form, work) {
  by(form).addEventListener("submit", (event) => {
    event.preventDefault();
    work(event.submitter);
  });
}

function start() {
  submitted("key-form", () => useKey(by("key").value));
  submitted("design-form", () => {
    const [file] = by("design").files;
    if (file) submit(file);
    else problem("choose a file first: .v, .sv, .py, or a .zip of a project");
  });
  submitted("words-form", (button) => (button?.name === "write" ? writeWords() : readWords()));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) submit(event.dataTransfer.files[0]);
  });
  const kept = sessionStorage.getItem(KEPT);
  if (kept) {
    by("key").value = kept;
    useKey(kept);
  }
  follow();
  watchPins();
}

start();
