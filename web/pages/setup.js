// The link on the server's console holds the setup code behind the #, where no server and no
// log sees it. Put it into the form and take it out of the address, and so out of the history.
"use strict";
(function () {
  var field = document.getElementById("code");
  var given = /^#code=([A-Za-z0-9_-]{1,128})$/.exec(window.location.hash);
  if (!field || !given) {
    return;
  }
  field.value = given[1];
  window.history.replaceState(null, "", window.location.pathname + window.location.search);
  document.getElementById("username").focus();
})();
