// What makes the pages easier to use; all of them work without it.
"use strict";
(function () {
  // The link on the server's console, or an invite link, holds a code behind the #, where no server and no
  // log sees it. Put it into the form and take it out of the address, and so out of the history.
  // It may come later, in a tab that shows the page already.
  var field = document.getElementById("code");
  function take() {
    var given = /^#code=([A-Za-z0-9_-]{1,128})$/.exec(window.location.hash);
    if (field && given) {
      field.value = given[1];
      window.history.replaceState(null, "", window.location.pathname + window.location.search);
      (document.getElementById("username") || document.getElementById("password")).focus();
    }
  }
  take();
  window.addEventListener("hashchange", take);

  // Browsers let scripts copy on secure pages only.
  if (!navigator.clipboard) {
    return;
  }
  document.querySelectorAll("button[data-copy]").forEach(function (button) {
    var of = button.getAttribute("data-copy");
    button.hidden = false;
    button.addEventListener("click", function () {
      navigator.clipboard.writeText(document.getElementById(of).textContent).then(function () {
        document.getElementById(of + "-copied").textContent = "Copied.";
      });
    });
  });
})();
