# Puts ONNX Runtime's files for browsers into a folder: cmake -DNAME=VALUE... -P fetch_page_runtime.cmake
#
#   RELEASE   runtime_files.json: the version, the SHA-512 of npm's archive, and which files to take out of it
#   FOLDER    where they go; it appears whole or not at all, and one that is there is left alone
#   NEEDED    ON: fails where they cannot be had. Otherwise it says why they are left out, and succeeds
#   ARCHIVE   npm's archive, where it is here already; otherwise npm is asked for it
#   SECONDS   how long npm may take; 60 where nothing is said
#
# An archive with another SHA-512 fails in any case: a page with it would not be the one that was tested.
cmake_minimum_required(VERSION 3.20)

if(EXISTS "${FOLDER}")
  return()
endif()

file(READ "${RELEASE}" release)
string(JSON version GET "${release}" version)
string(JSON expected GET "${release}" sha512)
string(JSON count LENGTH "${release}" files)
math(EXPR last "${count} - 1")
foreach(index RANGE ${last})
  string(JSON name GET "${release}" files ${index})
  list(APPEND names "${name}")
  list(APPEND members "package/dist/${name}")
endforeach()

# Everything is made beside the folder, in one that an interrupted build may have left.
set(part "${FOLDER}.part")
file(REMOVE_RECURSE "${part}")

# Remove what was begun, and end with an error.
function(fail text)
  file(REMOVE_RECURSE "${part}")
  message(FATAL_ERROR "${text}")
endfunction()

# Let npm write the archive into the folder "part"; the variable "reason" says why there is none.
# No second tries, so that a build without a network goes on at once.
function(ask_npm)
  if(NOT SECONDS)
    set(SECONDS 60)
  endif()
  find_program(NPM NAMES npm.cmd npm)
  if(NOT NPM)
    set(reason "there is no npm on the PATH" PARENT_SCOPE)
    return()
  endif()
  execute_process(
    COMMAND "${NPM}" pack "onnxruntime-web@${version}" --ignore-scripts --loglevel=error --update-notifier=false
            --fetch-retries=0 --fetch-timeout=20000
    WORKING_DIRECTORY "${part}"
    TIMEOUT ${SECONDS}
    RESULT_VARIABLE result
    OUTPUT_QUIET
    ERROR_VARIABLE said)
  # What npm prints after its first line, "npm error code ...", is where in npm that was.
  string(REGEX REPLACE "\n.*" "" first "${said}")
  if(NOT result EQUAL 0)
    string(STRIP "npm pack onnxruntime-web@${version} ended with: ${result} ${first}" reason)
    set(reason "${reason}" PARENT_SCOPE)
  elseif(NOT EXISTS "${archive}")
    set(reason "npm wrote no onnxruntime-web-${version}.tgz" PARENT_SCOPE)
  endif()
endfunction()

set(reason "")
file(MAKE_DIRECTORY "${part}/made")
if(ARCHIVE)
  set(archive "${ARCHIVE}")
  if(NOT EXISTS "${archive}")
    fail("${archive} is not there; ONNXPLAIN_PAGE_RUNTIME_ARCHIVE names what npm pack onnxruntime-web@${version} writes.")
  endif()
else()
  set(archive "${part}/onnxruntime-web-${version}.tgz")
  ask_npm()
endif()

if(reason AND NEEDED)
  fail("ONNX Runtime's files for browsers cannot be had: ${reason}. Name npm's archive with \
-DONNXPLAIN_PAGE_RUNTIME_ARCHIVE=FILE, or build without them with -DONNXPLAIN_PAGE_RUNTIME=OFF.")
elseif(reason)
  file(REMOVE_RECURSE "${part}")
  message(STATUS "ONNX Runtime's files for browsers are left out: ${reason}. onnxplain page says how to get them later.")
  return()
endif()

file(SHA512 "${archive}" found)
if(NOT found STREQUAL expected)
  fail("${archive} is not onnxruntime-web ${version} as it was tested. Its SHA-512:\n  found    ${found}\n  \
expected ${expected}\nLook where npm takes packages from (npm config get registry), or build without it with \
-DONNXPLAIN_PAGE_RUNTIME=OFF.")
endif()

# Both end with an error where the archive lacks a file.
file(ARCHIVE_EXTRACT INPUT "${archive}" DESTINATION "${part}" PATTERNS ${members})
foreach(name IN LISTS names)
  file(RENAME "${part}/package/dist/${name}" "${part}/made/${name}")
endforeach()
file(RENAME "${part}/made" "${FOLDER}")
file(REMOVE_RECURSE "${part}")
