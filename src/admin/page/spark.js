// A line of what a number was over the last two minutes. It says nothing that is not said in words beside it.

import { svg } from "./dom.js";

const POINTS = 120;
// A line that has only begun is as wide as this.
const FEWEST = 24;
const HEIGHT = 32;

export function spark() {
  const area = svg("path", { class: "area" });
  const line = svg("path", { class: "line", "vector-effect": "non-scaling-stroke" });
  const element = svg("svg", {
    class: "spark", preserveAspectRatio: "none", "aria-hidden": "true",
  }, area, line);
  const draw = (values) => {
    const shown = values.slice(-POINTS);
    const most = Math.max(1, ...shown);
    const width = Math.max(FEWEST, shown.length) - 1;
    element.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const x = (index) => width + 1 - shown.length + index;
    const y = (value) => (HEIGHT - 2 - (value / most) * (HEIGHT - 4)).toFixed(1);
    const points = shown.map((value, index) => `${x(index)} ${y(value)}`);
    if (points.length < 2) return;
    line.setAttribute("d", `M${points.join("L")}`);
    area.setAttribute("d", `M${x(0)} ${HEIGHT}L${points.join("L")}L${width} ${HEIGHT}Z`);
  };
  return { element, draw };
}
