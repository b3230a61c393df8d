"use strict";

// The width in CSS pixels at which plots are drawn for paper, where the style sheet makes them smaller.
const PRINT_WIDTH = 1080;
const narrow = window.matchMedia("screen and (max-width: 900px)");
const plots = [...document.querySelectorAll(".plot")];
const drawn = new Set();

function draw(plot, layoutOf) {
  const figure = JSON.parse(plot.nextElementSibling.textContent);
  Plotly.newPlot(plot, figure.data, layoutOf(figure), { responsive: true, displaylogo: false });
  drawn.add(plot);
}

const onScreen = (figure) => (narrow.matches ? figure.narrow : figure.wide);
const onPaper = (figure) => ({ ...figure.wide, autosize: false, width: PRINT_WIDTH });

// A plot is drawn when it is about to be seen.
const observer = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) {
        observer.unobserve(target);
        draw(target, onScreen);
      }
    }
  },
  { rootMargin: "800px" },
);

window.addEventListener("DOMContentLoaded", () => plots.forEach((plot) => observer.observe(plot)));
narrow.addEventListener("change", () => drawn.forEach((plot) => draw(plot, onScreen)));
window.addEventListener("beforeprint", () => plots.forEach((plot) => draw(plot, onPaper)));
window.addEventListener("afterprint", () => plots.forEach((plot) => draw(plot, onScreen)));
