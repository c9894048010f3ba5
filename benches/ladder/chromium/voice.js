// One side of a call between two pages, sound only. The bench calls offer(), answer(), accept(), connected(), then concealed().
'use strict';

const connection = new RTCPeerConnection();
connection.ontrack = ({ streams: [stream] }) => { document.getElementById('loudspeaker').srcObject = stream; };

async function offer() {
  await openMicrophone();
  return describe();
}

async function answer(sdp) {
  await connection.setRemoteDescription({ type: 'offer', sdp });
  await openMicrophone();
  return describe();
}

async function accept(sdp) {
  await connection.setRemoteDescription({ type: 'answer', sdp });
}

function connected() {
  return until('connectionstatechange', () => connection.connectionState === 'connected');
}

// Milliseconds of sound that were made up so far.
async function concealed() {
  const entries = [...(await connection.getStats()).values()];
  return (entries.find((entry) => entry.type === 'inbound-rtp')?.concealedSamples ?? 0) / 48;
}

async function openMicrophone() {
  const untouched = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: untouched });
  for (const track of stream.getTracks()) connection.addTrack(track, stream);
}

// A description with all addresses in it.
async function describe() {
  await connection.setLocalDescription();
  await until('icegatheringstatechange', () => connection.iceGatheringState === 'complete');
  return connection.localDescription.sdp;
}

function until(event, isSo) {
  return new Promise((done) => {
    const look = () => { if (isSo()) done(); };
    connection.addEventListener(event, look);
    look();
  });
}
