// Plays what happened with its own timing: it pauses, jumps, and goes faster.

import { h, id, write } from "./dom.js";
import { position } from "./format.js";

// Longer pauses are shortened to this where somebody wants that, in milliseconds.
const SHORT = 1000;

const SPEEDS = [1, 2, 8, 32];

// An arrow key at the slider moves by one of so many parts: by a millisecond, as the slider would, it leads nowhere.
const PARTS = 50;
const ARROWS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 };

// `steps` have `offset` in milliseconds, ascending. `moved(index)` hears which of them is the last that has happened; -1: none.
export function player(steps, moved) {
  const end = () => (steps.length ? steps[steps.length - 1].offset : 0);
  const state = { at: end(), index: steps.length - 1, plays: false, speed: 1, short: true, frame: 0, before: 0 };
  const play = h("button", { class: "primary play", type: "button", on: { click: () => (state.plays ? pause() : begin()) } });
  const slider = h("input", {
    type: "range", min: "0", max: "1", step: "1", "aria-label": "Position",
    on: { input: () => jump(Number(slider.value)), keydown: (key) => {
      const way = ARROWS[key.key];
      if (!way || key.ctrlKey || key.altKey || key.metaKey) return;
      key.preventDefault();
      jump(Math.max(0, Math.min(end(), state.at + (way * end()) / PARTS)));
    } },
  });
  const shown = h("output", { class: "position" });
  const speeds = h("select", { "aria-label": "Speed", on: { change: () => {
    state.speed = Number(speeds.value);
  } } }, SPEEDS.map((speed) => h("option", { value: String(speed), text: `${speed}×` })));
  const box = id("short");
  const short = h("input", { type: "checkbox", id: box, checked: true, on: { change: () => {
    state.short = short.checked;
  } } });
  const step = (by, label, text) => h("button", { type: "button", "aria-label": label, text, on: { click: () => {
    pause();
    const next = Math.max(0, Math.min(steps.length - 1, state.index + by));
    if (steps[next]) jump(steps[next].offset, next);
  } } });
  const element = h("div", { class: "player", role: "group", "aria-label": "Player" },
    step(-1, "One event back", "◀"), play, step(1, "One event on", "▶▏"), slider, shown, speeds,
    h("label", { class: "short", for: box }, short, "Shorten pauses"));
  show();
  return {
    element,
    jump: (index) => steps[index] && jump(steps[index].offset, index),
    // There are more steps than `before`. Who was at the end goes along, who is elsewhere stays there.
    grew(before) {
      if (!state.plays && state.index === before - 1) jump(end(), steps.length - 1);
      else show();
    },
    close: () => cancelAnimationFrame(state.frame),
  };

  function begin() {
    if (state.index >= steps.length - 1) {
      state.at = 0;
      state.index = -1;
    }
    state.plays = true;
    state.before = performance.now();
    state.frame = requestAnimationFrame(tick);
    show();
  }

  function pause() {
    state.plays = false;
    cancelAnimationFrame(state.frame);
    show();
  }

  function tick(time) {
    let passed = (time - state.before) * state.speed;
    state.before = time;
    const next = steps[state.index + 1];
    // What is left of a long pause passes in the time of a short one.
    const pauses = next ? next.offset - (steps[state.index]?.offset ?? 0) : 0;
    if (state.short && pauses > SHORT) passed *= pauses / SHORT;
    state.at = Math.min(state.at + passed, next && state.short ? next.offset : end());
    const before = state.index;
    while (state.index + 1 < steps.length && steps[state.index + 1].offset <= state.at) state.index += 1;
    if (state.index !== before) moved(state.index);
    if (state.index >= steps.length - 1) pause();
    else {
      state.frame = requestAnimationFrame(tick);
      show();
    }
  }

  function jump(at, index) {
    state.at = at;
    if (index === undefined) {
      index = -1;
      while (index + 1 < steps.length && steps[index + 1].offset <= at) index += 1;
    }
    state.index = index;
    moved(index);
    show();
  }

  function show() {
    slider.max = String(Math.max(1, end()));
    slider.value = String(Math.round(state.at));
    slider.setAttribute("aria-valuetext", position(state.at));
    write(shown, `${position(state.at)} / ${position(end())}`);
    write(play, state.plays ? "Pause" : "Play");
  }
}
