// Numbers and times as people read them.

import { h } from "./dom.js";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

// 1536 → "1.5 KiB"
export function bytes(count) {
  let value = Number(count) || 0;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

export function speed(perSecond) {
  return `${bytes(perSecond)}/s`;
}

export function count(number) {
  return Number(number).toLocaleString("en-US");
}

// "1 file", "2 files"
export function some(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

// Milliseconds → "850 ms", "4.2 s", "3 min 5 s", "2 h 4 min", "3 d 4 h"
export function duration(ms) {
  const seconds = Math.max(0, Number(ms) || 0) / 1000;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

// Milliseconds → "0:04.250", as a player shows it.
export function position(ms) {
  const all = Math.max(0, Math.round(ms));
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(all / 3600000);
  const minutes = Math.floor(all / 60000) % 60;
  const seconds = `${two(Math.floor(all / 1000) % 60)}.${String(all % 1000).padStart(3, "0")}`;
  return hours ? `${hours}:${two(minutes)}:${seconds}` : `${minutes}:${seconds}`;
}

// "4 s ago", "3 min ago", "2 d ago"
export function ago(time, now = Date.now()) {
  const seconds = Math.round((now - new Date(time)) / 1000);
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

const two = (number) => String(number).padStart(2, "0");

// The day, local: "2026-07-31"
export function day(time) {
  const at = new Date(time);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

// The time of day, local: "10:15:30.042"
export function clock(time, withMilliseconds = true) {
  const at = new Date(time);
  const seconds = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return withMilliseconds ? `${seconds}.${String(at.getMilliseconds()).padStart(3, "0")}` : seconds;
}

export function local(time) {
  return `${day(time)} ${clock(time, false)}`;
}

// As it was recorded: "2026-07-31 08:15:30.042 UTC"
export function utc(time) {
  return `${String(time).replace("T", " ").replace("Z", "")} UTC`;
}

// The form for a screen is local; as it was recorded, in UTC, on hover.
export function when(time, shown = local(time)) {
  return h("time", { datetime: time, title: utc(time), text: shown });
}
