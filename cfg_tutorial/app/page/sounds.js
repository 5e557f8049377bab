// Plays the sounds of a panel, one at a time. Knows nothing of how they were made.

let playing = null;

function soundButtons(sounds) {
  const one = (sound, i) => {
    const words = { "data-sound": i, "aria-label": `Play sample ${i + 1}: ${sound.words}` };
    return element("button", { type: "button", ...words }, `► ${escape(sound.words)}`);
  };
  return sounds.map(one).join("");
}

function playSound(sound) {
  if (playing) playing.pause();
  playing = new Audio(sound.wav);
  playing.play();
}
