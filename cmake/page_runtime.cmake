# ONNX Runtime's files for browsers, which the page needs. npm fetches them while the compiler runs.

set(ONNXPLAIN_PAGE_RUNTIME
    AUTO
    CACHE STRING "ONNX Runtime's files for browsers: AUTO (where npm gets them), ON (or the build fails), OFF")
set(ONNXPLAIN_PAGE_RUNTIME_ARCHIVE
    ""
    CACHE STRING "What npm pack onnxruntime-web wrote, for builds without npm; counts from the top of the sources")

if(NOT ONNXPLAIN_PAGE_RUNTIME MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "ONNXPLAIN_PAGE_RUNTIME is ${ONNXPLAIN_PAGE_RUNTIME}; take AUTO, ON or OFF.")
endif()
if(ONNXPLAIN_PAGE_RUNTIME STREQUAL "OFF")
  return()
endif()

get_filename_component(release "${CMAKE_CURRENT_LIST_DIR}/../src/onnxplain/page/runtime_files.json" ABSOLUTE)
set(archive "")
if(ONNXPLAIN_PAGE_RUNTIME_ARCHIVE)
  get_filename_component(archive "${ONNXPLAIN_PAGE_RUNTIME_ARCHIVE}" ABSOLUTE BASE_DIR "${CMAKE_SOURCE_DIR}")
endif()
set(needed OFF)
if(archive OR ONNXPLAIN_PAGE_RUNTIME STREQUAL "ON")
  set(needed ON)
endif()

# The folder is named after the release, so that files of another one are never installed.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${release}")
file(SHA256 "${release}" key)
set(folder "${CMAKE_CURRENT_BINARY_DIR}/page_runtime/${key}")

add_custom_target(
  onnxplain_page_runtime ALL
  COMMAND "${CMAKE_COMMAND}" "-DRELEASE=${release}" "-DFOLDER=${folder}" "-DNEEDED=${needed}" "-DARCHIVE=${archive}" -P
          "${CMAKE_CURRENT_LIST_DIR}/fetch_page_runtime.cmake"
  VERBATIM)
install(
  DIRECTORY "${folder}/"
  DESTINATION onnxplain/page/runtime
  OPTIONAL)
