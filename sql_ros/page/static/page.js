// Show the frames of the server, and send what the operator does.

import { View } from "./view.js";

const LOST_MS = 1000; // without a frame for so long, the connection counts as lost
const RETRY_MS = 1000;
const $ = (id) => document.getElementById(id);

let socket = null;
let frameAt = -Infinity; // performance.now() of the last frame
let seen = 0; // its time `t` on the server's clock
let status = null;
let frame = null;
let stopAskedAt = -Infinity;
let stopAnswer = ""; // of the actor, to the last press
let sceneIsLoaded = false;
let view = null;

const isLost = () => !socket || socket.readyState !== WebSocket.OPEN || performance.now() - frameAt > LOST_MS;
const isReady = (name) => Boolean(!isLost() && status && status.ready[name]);
const stopWorks = () => isReady("stop") && status.is_alive;

function send(message) {
  if (!socket || socket.readyState !== WebSocket.OPEN) return;
  socket.send(JSON.stringify({ ...message, seen }));
}

// --- connection ---

function connect() {
  socket = new WebSocket(`ws://${location.host}/ws`);
  socket.onmessage = (event) => take(JSON.parse(event.data));
  socket.onclose = () => setTimeout(connect, RETRY_MS);
}

async function loadScene() {
  sceneIsLoaded = true;
  try {
    const answer = await fetch("/scene");
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    view.setScene(await answer.arrayBuffer());
  } catch {
    sceneIsLoaded = false;
  }
}

function take(news) {
  frameAt = performance.now();
  frame = news;
  seen = news.t;
  if (!sceneIsLoaded && view) loadScene();
  if (view) view.setPose(news.bodies, news.tool, news.goal);
  if (news.status) {
    status = news.status;
    showStatus();
  }
  showState();
}

// --- what is shown at once: connection, hold, stop ---

function state() {
  const age = frameAt > 0 ? `${((performance.now() - frameAt) / 1000).toFixed(0)} s` : "";
  if (isLost()) {
    const since = age ? ` for ${age}` : "";
    return ["lost", `CONNECTION LOST${since}`, "What you see is old. STOP on this page does not work: use the emergency stop."];
  }
  if (!status) return ["lost", "Connecting ...", ""];
  if (!status.actor) return ["dead", "NO ARM", "No actor was heard so far. STOP has no effect: use the emergency stop."];
  if (!status.is_alive) {
    return ["dead", `${status.actor.toUpperCase()} IS SILENT for ${status.actor_age.toFixed(0)} s`, "What you see is old. STOP may have no effect: use the emergency stop."];
  }
  if (status.hold) {
    const [kind, ...rest] = status.hold.split(": ");
    const isStop = kind === "stop" || kind === "emergency_stop";
    const reason = rest.join(": ");
    const next = isStop ? ". To go on: Reset, then Start." : "";
    return [isStop ? "stopped" : "held", `Arm held: ${kind.replaceAll("_", " ")}`, reason + next];
  }
  return ["moving", status.acting, status.goal_status ? `goal ${status.goal_status}` : ""];
}

function showState() {
  const [kind, headline, detail] = state();
  document.body.className = kind;
  $("headline").textContent = headline;
  $("detail").textContent = detail;
  const works = stopWorks();
  const waits = performance.now() - stopAskedAt < 2500 && (kind === "stopped" || !stopAnswer);
  if (kind !== "lost" && !works) document.body.className = "dead";
  $("stop-label").textContent = works ? "STOP" : "STOP does not work";
  $("stop-note").textContent = !works ? "use the emergency stop" : waits ? stopAnswer || "asked ..." : "Esc";
  for (const name of ["reset", "start", "pause", "reset_world", "push"]) $(name).disabled = !isReady(name);
  $("goal-hint").textContent = isReady("goal") ? "\u00a0 drag the goal: send it" : "";
  if (frame && view) {
    const point = view.dragged || frame.tool;
    const label = view.dragged ? "goal" : "tool";
    $("readout").textContent = `${label}  ${point.map((x) => x.toFixed(3)).join("  ")} m`;
  }
}

// --- what is shown a few times a second ---

function element(kind, text, name = "") {
  const made = document.createElement(kind);
  made.textContent = text;
  made.className = name;
  return made;
}

function showStatus() {
  $("task").textContent = status.task;
  const trains = status.nodes.some((node) => node.name === "learner" && node.level !== "dead");
  const mode = status.actor === "trials" ? "trials" : trains ? "training" : "playing";
  const arm = status.nodes.some((node) => node.name === "sim_bridge") ? "simulated arm" : "real arm";
  $("mode").textContent = status.actor ? [status.namespace, mode, arm].filter(Boolean).join(" · ") : "";
  document.title = `${status.task} · sql_ros`;
  showNodes();
  showFigures();
  showCounts();
  showNotes();
  showActions();
  const { episode, success, return: returns } = status.curves;
  const count = episode.length ? episode[episode.length - 1] : 0;
  $("episodes").textContent = count ? `last 20 of ${count}` : "no episode yet";
  plot($("success"), episode, success.map((x) => 100 * x), "#3fb27f", [0, 100], " %");
  plot($("return"), episode, returns, "#5b9df5", null, "");
  for (const key of document.querySelectorAll(".key")) key.classList.add("shown");
  const kinds = view && view.header ? view.header.boxes.map((box) => box.kind) : [];
  document.querySelector(".key.workspace").classList.toggle("shown", kinds.includes("workspace"));
  document.querySelector(".key.keepout").classList.toggle("shown", kinds.includes("keep_out"));
}

function showNodes() {
  const rows = status.nodes.map((node) => {
    const row = element("tr", "", node.level);
    const dot = element("td", "", "dot");
    dot.append(element("i", ""));
    const words = node.level === "dead" ? `dead? silent; last: ${node.message}` : node.message;
    row.append(dot, element("td", node.name, "who"), element("td", words, "what"), element("td", `${node.age.toFixed(0)} s`, "age"));
    return row;
  });
  $("nodes").replaceChildren(...rows);
  if (!rows.length) $("nodes").append(element("caption", "no message of a stack so far"));
}

function showFigures() {
  const f = status.figures;
  const of = (key) => Number(f[key]);
  const lines = [];
  const us = (x) => (x >= 1000 ? `${(x / 1000).toFixed(1)} ms` : `${x.toFixed(0)} µs`);
  if (status.simulation.lockstep === "True") {
    lines.push(["lockstep, a step takes", `${of("period_p50_ms").toFixed(1)} ms`]);
  } else if (of("period_p50_ms") > 0) {
    lines.push(["period, median / 99 %", `${of("period_p50_ms").toFixed(2)} / ${of("period_p99_ms").toFixed(2)} ms`]);
    lines.push(["period, wanted", `${of("period_target_ms").toFixed(2)} ms`]);
  }
  if (of("latency_p50_us") > 0) lines.push(["latency, median / 99 %", `${us(of("latency_p50_us"))} / ${us(of("latency_p99_us"))}`]);
  if (of("inference_p50_us") > 0) lines.push(["policy, median", us(of("inference_p50_us"))]);
  if ("missed_deadlines" in f) lines.push(["missed deadlines", `${f.missed_deadlines} of ${f.control_steps}`]);
  if ("policy_version" in f) lines.push(["policy version", f.policy_version === "0" ? "none" : f.policy_version]);
  const t = status.training;
  if ("transitions" in t) lines.push(["transitions", Number(t.transitions).toLocaleString("en")]);
  if ("updates" in t) lines.push(["updates", Number(t.updates).toLocaleString("en")]);
  if ("time_s" in status.simulation) lines.push(["simulated time", `${Number(status.simulation.time_s).toFixed(0)} s`]);
  lines.push(["last state", frame.state_age === null ? "none" : `${frame.state_age.toFixed(1)} s ago`]);
  $("figures").replaceChildren(...lines.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
}

function showCounts() {
  const labels = { filter: "filter", hold: "held", fault: "fault" };
  const chips = Object.entries(labels).flatMap(([group, label]) =>
    Object.entries(status.counts[group]).map(([kind, count]) => {
      const chip = element("span", `${label}: ${kind.replaceAll("_", " ")} `, `chip ${group}`);
      chip.append(element("b", count.toLocaleString("en")));
      return chip;
    }),
  );
  $("counts").replaceChildren(...chips);
  if (!chips.length) $("counts").textContent = "no intervention of the filter, no hold, no fault";
}

let lastNote = 0;

function showNotes() {
  const newest = status.notes.length ? status.notes[status.notes.length - 1].number : 0;
  if (newest === lastNote) return;
  const answers = status.notes.filter((note) => note.number > lastNote && note.text.startsWith("stop: "));
  if (answers.length) stopAnswer = answers.some((note) => note.level === "ok") ? "stopped" : "see the log";
  lastNote = newest;
  const lines = [...status.notes].reverse().map((note) => {
    const line = element("li", "", note.level);
    line.append(element("time", note.at), note.text);
    return line;
  });
  $("notes").replaceChildren(...lines);
}

function showActions() {
  $("simulation").hidden = !status.ready.pause;
  $("push-row").hidden = !status.ready.push;
  $("pause").textContent = status.simulation.paused === "True" ? "Continue simulation" : "Pause simulation";
  if ($("body").childElementCount !== status.pushable.length) {
    $("body").replaceChildren(...status.pushable.map((name) => element("option", name)));
  }
}

function plot(canvas, xs, ys, colour, range, unit) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = scale * width;
  canvas.height = scale * height;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const [left, right, top, bottom] = [40, width - 46, 8, height - 8];
  const [low, high] = range || [Math.min(0, ...ys), Math.max(0, ...ys)];
  const span = high - low || 1;
  pen.font = "12px system-ui, sans-serif";
  pen.fillStyle = "#8d99a8";
  if (!xs.length) return;
  pen.strokeStyle = "#2a323e";
  pen.textAlign = "right";
  for (const share of [0, 0.5, 1]) {
    const y = bottom - share * (bottom - top);
    pen.beginPath();
    pen.moveTo(left, y);
    pen.lineTo(right, y);
    pen.stroke();
    pen.fillText(`${Number((low + share * span).toPrecision(3))}`, left - 6, y + 4);
  }
  const x = (i) => left + ((xs[i] - xs[0]) / Math.max(1, xs[xs.length - 1] - xs[0])) * (right - left);
  const y = (i) => bottom - ((ys[i] - low) / span) * (bottom - top);
  pen.strokeStyle = colour;
  pen.lineWidth = 2;
  pen.lineJoin = "round";
  pen.beginPath();
  ys.forEach((_, i) => (i ? pen.lineTo(x(i), y(i)) : pen.moveTo(x(i), y(i))));
  pen.stroke();
  pen.fillStyle = colour;
  pen.beginPath();
  pen.arc(x(ys.length - 1), y(ys.length - 1), 3, 0, 7);
  pen.fill();
  pen.font = "600 13px system-ui, sans-serif";
  pen.textAlign = "left";
  pen.fillText(`${Number(ys[ys.length - 1].toPrecision(3))}${unit}`, right + 7, y(ys.length - 1) + 4);
}

// --- what the operator does ---

function stop() {
  stopAskedAt = performance.now();
  stopAnswer = "";
  send({ do: "stop" });
  showState();
}

$("stop").addEventListener("click", stop);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.repeat) stop();
});
for (const name of ["reset", "start", "reset_world"]) $(name).addEventListener("click", () => send({ do: name }));
$("pause").addEventListener("click", () => send({ do: "pause", on: status.simulation.paused !== "True" }));
$("force").addEventListener("input", () => ($("force-label").textContent = `${$("force").value} N`));
$("push").addEventListener("click", () => {
  const newton = Number($("force").value);
  const force = $("direction").value.split(" ").map((x) => newton * Number(x));
  send({ do: "push", body: $("body").value, force });
});

try {
  view = new View($("view"), (position) => send({ do: "goal", position }), () => isReady("goal"));
  window.view = view; // for tests and the console
} catch (error) {
  $("readout").textContent = `no picture: ${error.message}`; // the rest of the page works
}
connect();
setInterval(showState, 200);
