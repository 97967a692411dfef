// Runs before the first paint, so that the page does not flash in the wrong appearance.
(() => {
  try {
    const theme = localStorage.getItem("fathom.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Without storage, the system's appearance stays.
  }
})();
