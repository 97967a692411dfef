// Drawings of 24 x 24, drawn as lines.

export const ICONS = {
  back: "M15 5l-7 7 7 7",
  next: "M9 5l7 7-7 7",
  download: "M12 4v11m-4.5-4.5L12 15l4.5-4.5M5 20h14",
  pause: "M9 5v14M15 5v14",
  play: "M8 5l11 7-11 7z",
  stop: "M7 7h10v10H7z",
  retry: "M20 11a8 8 0 1 0-2.3 6.3M20 5v6h-6",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10 11v5M14 11v5",
  folder: "M4 7a2 2 0 0 1 2-2h3l2 2h7a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2z",
  photos: "M4 6h16v12H4zM4 15l4-4 4 4 3-3 5 5M15.5 9.5h.01",
  warning: "M12 4l9 16H3zM12 10v4M12 17h.01",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8M12 2v2M12 20v2M4 12H2M22 12h-2M5 5l1.4 1.4M17.6 17.6L19 19M19 5l-1.4 1.4M6.4 17.6L5 19",
  moon: "M20 14.5A8 8 0 1 1 9.5 4a6.5 6.5 0 0 0 10.5 10.5z",
  language: "M3 12h18M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M12 3c3 3 3 15 0 18M12 3c-3 3-3 15 0 18",
  key: "M14 10a4 4 0 1 0-3.9 3.9L12 12l2 2 2-2 1 1 3-3-2-2zM8.5 9.5h.01",
  compare: "M12 4v16M4 6h5v12H4zM15 6h5v12h-5",
  cube: "M12 3l8 4.5v9L12 21l-8-4.5v-9zM12 12l8-4.5M12 12v9M12 12L4 7.5",
  make: "M5 19L15 9M14 4v4M12 6h4M19 11v4M17 13h4M7 5v3M5.5 6.5h3",
  look: "M3 12c4-7 14-7 18 0-4 7-14 7-18 0zM12 9.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5",
  device: "M8 3h8v18H8zM11 18h2",
};
