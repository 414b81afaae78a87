// @ts-check
/**
 * The shapes that the server sends and the page keeps. Types only: nothing runs here.
 *
 * @typedef {{kind: string, subject: string, problem: string, advice: string}} Told  What went wrong.
 *
 * @typedef {string | number | boolean | (string | number)[] | null} Value  A setting's value.
 * @typedef {Record<string, Value>} Group  Settings of one group by name.
 * @typedef {Record<string, Group>} Groups  Groups of settings by name.
 *
 * @typedef {object} Clip
 * @property {number} width   Shown width in pixels.
 * @property {number} height
 * @property {number} frames
 * @property {string} rate    Frames a second as a fraction, "30000/1001"; the average where it varies.
 * @property {string[]} [notes]  What is wrong or odd about it.
 * @property {boolean} [variable]  Whether it varies.
 * @property {number} [start] When the first frame is shown, in seconds from the clip's beginning.
 * @property {number[]} [times]  When each frame is shown, and when the last one ends; where the rate varies.
 * @property {number} seconds
 * @property {boolean} audio
 * @property {string} format
 * @property {string} codec
 * @property {number} rotation
 *
 * @typedef {{id: string, name: string, tracks: number[]}} Naming  A person as corrected by hand.
 *
 * @typedef {{swap?: Group | null, mask?: Group | null, enhance?: Group | null}} Own  A person's own settings, each group whole.
 *
 * @typedef {object} Casting  Who becomes whom.
 * @property {string} person
 * @property {string[]} sources
 * @property {boolean} [off]
 * @typedef {Casting & Own} Part
 *
 * @typedef {{at: string, values?: Group, show?: number | null}} Key  Numbers at a moment of a cue.
 *
 * @typedef {object} Cue
 * @property {string} start
 * @property {string} end
 * @property {number[]} [roles]   Numbers of the cast, from 1; none: all.
 * @property {number | null} [show]
 * @property {string[]} [sources]
 * @property {Group} [values]     By full name, "swap.strength".
 * @property {Key[]} [keys]
 * @property {number} [ease]      Seconds.
 *
 * @typedef {object} Project
 * @property {number} [format]
 * @property {string} name
 * @property {string} target
 * @property {string | null} [output]
 * @property {string} [start]
 * @property {string} [end]
 * @property {Naming[]} [people]
 * @property {Part[]} [cast]
 * @property {string[][]} [identities]  New faces to choose from: each entry is the pictures of one.
 * @property {Cue[]} [cues]
 * @property {Groups} [settings]  Only what differs from the defaults.
 *
 * @typedef {object} Opened
 * @property {string} id
 * @property {number} revision
 * @property {Project} project
 * @property {Clip} clip
 * @property {boolean} analysed
 * @property {string | number | null} job
 *
 * @typedef {object} TrackLine
 * @property {number} id
 * @property {number} start
 * @property {number} end
 * @property {number} shot
 * @property {number} quality
 * @property {[number, number, number][]} presence  Start, end, quality.
 *
 * @typedef {object} PersonLine
 * @property {string} id
 * @property {string} name
 * @property {number} seconds
 * @property {string} first
 * @property {number} shots
 * @property {string} picture
 * @property {TrackLine[]} tracks
 *
 * @typedef {{frame: number, end: number, track: number, reason: string, text: string, result?: string}} Moment
 * @typedef {{people: PersonLine[], cuts: number[], moments: Moment[]}} People
 *
 * @typedef {object} Person  A person as the page shows it: analysis, corrections and cast together.
 * @property {string} id
 * @property {string} name
 * @property {number} seconds
 * @property {string} picture
 * @property {TrackLine[]} tracks
 * @property {number} colour  Number of its colour, 0 to 7.
 *
 * @typedef {object} Line  A job of the queue.
 * @property {string | number} id
 * @property {string} kind
 * @property {string} state
 * @property {string} title
 * @property {string | null} project
 * @property {string} [target]
 * @property {string} [output]
 * @property {number} position
 * @property {string | number | null} [created]
 * @property {number | null} [ended]  Seconds since 1970.
 * @property {{stage: string, done: number, total: number, fps: number, eta: number} | null} progress
 * @property {Told | null} error
 * @property {Record<string, any> | null} finished
 * @property {{subject: string, message: string}[]} warnings
 *
 * @typedef {object} Model
 * @property {string} name
 * @property {string} task
 * @property {number} bytes
 * @property {string} licence
 * @property {string} commercial
 * @property {boolean} installed
 * @property {boolean} gated
 * @property {boolean} accepted
 * @property {string} notes
 *
 * @typedef {{kind: "clip"} | {kind: "person", id: string} | {kind: "cue", index: number} | {kind: "live"} | {kind: "role", index: number}} Scope
 *   What the settings form changes: of a clip, or of live and of one of its cast.
 *
 * @typedef {{sources: string[], faces: string, like: string[]} & Own} Role  Who becomes whom in a live run.
 *
 * @typedef {{settings?: Groups, cast?: Own[]}} Held  Settings for all and for persons: a project's, or live's.
 *
 * @typedef {object} Live  What a live run is to be; kept by the browser.
 * @property {string} source      "browser", "file", "stream", or a camera of the server by its name.
 * @property {string} camera      Id of the browser's camera; empty: whichever it gives.
 * @property {string} microphone  "none", "" (whichever it gives), or an id.
 * @property {string} file
 * @property {string} address
 * @property {Role[]} cast
 * @property {boolean} off        Whether everybody keeps their own face for the moment.
 * @property {Groups} settings    Only what differs from the defaults; `feed`, too.
 * @property {boolean} mirror
 * @property {"after" | "side"} view
 * @property {string} folder      Where recordings go.
 * @property {string} target      Address of the stream that it is sent to.
 *
 * @typedef {{median: number, most: number}} Delay  Milliseconds.
 * @typedef {{frames: number, dropped: number, delay: Delay}} Written
 *
 * @typedef {{track: number, box: [number, number, number, number]}} Sight  Somebody in the live picture; the box in shares of it.
 *
 * @typedef {object} Pulse  How a live run is doing.
 * @property {number} seconds
 * @property {number} captured
 * @property {number} made
 * @property {number} dropped
 * @property {number} fps
 * @property {Delay} delay
 * @property {number} faces
 * @property {boolean} pending
 * @property {Record<string, Written>} outputs
 * @property {Sight[]} seen
 *
 * @typedef {object} Onair  A live run as the server tells it.
 * @property {boolean} running
 * @property {"off" | "preparing" | "waiting" | "showing" | "ending"} phase
 * @property {Group | null} feed
 * @property {Role[]} cast
 * @property {Groups | null} settings
 * @property {Pulse | null} pulse
 * @property {{subject: string, message: string}[]} notes
 * @property {Told | null} error
 *
 * @typedef {object} Air  The page's part in a live run.
 * @property {"idle" | "starting" | "running" | "stopping"} phase
 * @property {boolean} sends      Whether this page's camera is its input.
 * @property {Onair | null} told
 * @property {boolean} seen        Whether its first picture is on the page.
 * @property {Told | null} problem  What went wrong last.
 *
 * @typedef {"split" | "side" | "after" | "before" | "difference" | "mask"} View
 *
 * @typedef {object} State
 * @property {Opened | null} opened
 * @property {Project | null} project
 * @property {People | null} people
 * @property {any} schema
 * @property {Groups} defaults
 * @property {Model[]} models
 * @property {Line[]} jobs
 * @property {number} frame
 * @property {boolean} playing
 * @property {number} speed
 * @property {View} view
 * @property {Scope} scope
 * @property {"saved" | "unsaved" | "saving" | "failed" | "conflict"} saving
 * @property {string[][]} pool       The same where no project is open: for live.
 * @property {number} moment         Index of the moment looked at, or -1.
 * @property {boolean} muted
 * @property {"clip" | "live"} place  What the middle of the page shows.
 * @property {Live} live
 * @property {any} liveSchema
 * @property {Scope} liveScope     What the settings form of live changes.
 * @property {Air} air
 */
export {};
