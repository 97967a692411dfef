// Runs before anything is painted, so that a chosen appearance does not flash.
(() => {
  try {
    const theme = localStorage.getItem("fathom.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Without storage the system's own appearance stays.
  }
})();
