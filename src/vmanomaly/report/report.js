"use strict";
// Shows the values under the pointer, or under a cursor that the arrow keys move.
(() => {
  const box = document.getElementById("values");
  const loaded = new WeakMap();
  let current = null;

  const text = (parent, tag, content, className) => {
    const element = document.createElement(tag);
    element.textContent = content;
    if (className) element.className = className;
    parent.append(element);
    return element;
  };

  const number = (value) =>
    value === null ? "-" : String(Number(value.toPrecision(4)));

  const score = (value) => (value === null ? "-" : value.toFixed(2));

  const pointsOf = (view) => {
    if (!loaded.has(view)) loaded.set(view, JSON.parse(view.dataset.points));
    return loaded.get(view);
  };

  const at = (model, name, index) => (model[name] ? model[name][index] : null);

  const nearest = (times, wanted) => {
    let low = 0;
    let high = times.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] < wanted) low = middle + 1;
      else high = middle;
    }
    return low > 0 && wanted - times[low - 1] < times[low] - wanted ? low - 1 : low;
  };

  const hide = () => {
    box.hidden = true;
    if (current) current.view.classList.remove("active");
    current = null;
  };

  const fill = (points, index) => {
    box.textContent = "";
    const when = new Date(points.t[index]).toISOString().slice(0, 16).replace("T", " ");
    text(box, "div", `${when} UTC`, "when");
    const value = points.models.map((model) => at(model, "y", index)).find((y) => y !== null);
    if (value !== undefined) text(box, "div", `${number(value)} ${points.unit}`, "value");
    const table = document.createElement("table");
    const row = (cells, tag) => {
      const line = document.createElement("tr");
      cells.forEach((cell) => text(line, tag, cell));
      table.append(line);
    };
    row(["", ...points.models.map((model) => model.name)], "th");
    const all = (name, shown) => {
      if (points.models.some((model) => model[name]))
        row([name, ...points.models.map((model) => shown(model))], "td");
    };
    for (const name of ["yhat", "yhat_lower", "yhat_upper"])
      all(name, (model) => number(at(model, name, index)));
    for (const name of ["anomaly_score", "incident_score"])
      all(name, (model) => score(at(model, name, index)));
    box.append(table);
  };

  const show = (view, index, top) => {
    const points = pointsOf(view);
    if (!points.t.length) return;
    const plot = view.querySelector(".plot").getBoundingClientRect();
    const whole = view.getBoundingClientRect();
    const share = (points.t[index] - points.start) / (points.end - points.start);
    const x = plot.left + share * plot.width;
    if (current && current.view !== view) current.view.classList.remove("active");
    current = { view, index };
    view.classList.add("active");
    view.querySelector(".cursor").style.left = `${x - whole.left}px`;
    fill(points, index);
    box.hidden = false;
    const width = box.offsetWidth;
    const page = document.documentElement.clientWidth;
    const left = x + 14 + width < page ? x + 14 : x - 14 - width;
    box.style.left = `${Math.max(4, Math.min(left, page - width - 4))}px`;
    box.style.top = `${Math.max(4, Math.min(top, innerHeight - box.offsetHeight - 4))}px`;
  };

  for (const view of document.querySelectorAll(".view")) {
    const move = (event) => {
      const points = pointsOf(view);
      const plot = view.querySelector(".plot").getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - plot.left) / plot.width));
      const wanted = points.start + share * (points.end - points.start);
      show(view, nearest(points.t, wanted), event.clientY + 14);
    };
    view.addEventListener("pointermove", move);
    view.addEventListener("pointerdown", move);
    view.addEventListener("pointerleave", hide);
    view.addEventListener("blur", hide);
    view.addEventListener("keydown", (event) => {
      if (event.key === "Escape") return hide();
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      const last = pointsOf(view).t.length - 1;
      const from = current && current.view === view ? current.index : by > 0 ? -1 : last + 1;
      const plot = view.querySelector(".plot").getBoundingClientRect();
      show(view, Math.max(0, Math.min(last, from + by)), plot.top + 14);
    });
  }
  addEventListener("scroll", hide, { passive: true });
})();
